package main

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
)

// callers is how many unary calls are under way at a time.
const callers = 50

// spread makes unary calls while streams are open on the same connection; both kinds are counted by backend.
func spread(client testgrpc.TestServiceClient, settings settings) (any, error) {
	streams, calls := newTally(), newTally()
	var opened, closed sync.WaitGroup
	callsMade := make(chan struct{})
	for i := range settings.streams {
		opened.Add(1)
		closed.Go(func() {
			backend, err := hold(client, i, opened.Done, callsMade)
			streams.add(backend, err)
		})
	}
	opened.Wait()
	makeCalls(client, settings.calls, calls)
	close(callsMade)
	closed.Wait()
	return map[string]any{"streams": streams, "calls": calls}, nil
}

// hold opens a stream, uses it before and after the channel is closed, and ends it.
func hold(client testgrpc.TestServiceClient, seed int, opened func(), until <-chan struct{}) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*limit)
	defer cancel()
	stream, err := openEcho(ctx, client)
	if err == nil {
		err = exchange(stream, payload(seed, 100))
	}
	opened()
	if err != nil {
		return "", err
	}
	header, err := stream.Header()
	if err != nil {
		return "", err
	}
	<-until
	if err := exchange(stream, payload(seed+1, 1000)); err != nil {
		return "", err
	}
	return backendOf(header), finish(stream)
}

func makeCalls(client testgrpc.TestServiceClient, count int, tally *tally) {
	var made sync.WaitGroup
	numbers := make(chan int)
	for range callers {
		made.Go(func() {
			for range numbers {
				tally.add(call(client))
			}
		})
	}
	for number := range count {
		numbers <- number
	}
	close(numbers)
	made.Wait()
}

// call makes one unary call and says which backend answered.
func call(client testgrpc.TestServiceClient) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var header metadata.MD
	_, err := client.EmptyCall(ctx, &testpb.Empty{}, grpc.Header(&header))
	return backendOf(header), err
}
