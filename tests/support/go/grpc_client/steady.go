package main

import (
	"context"
	"os/signal"
	"sync"
	"syscall"
	"time"

	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// pause between two calls of a worker, so that the machine has time for the others.
const pause = 2 * time.Millisecond

// steady makes unary calls and short streams from several workers until SIGTERM. A line on
// standard output says when the first call has ended.
func steady(client testgrpc.TestServiceClient, settings settings) (any, error) {
	over, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	calls, streams := newTally(), newTally()
	calls.add(call(client))
	print(map[string]bool{"started": true})
	var workers sync.WaitGroup
	for worker := range settings.streams {
		workers.Go(func() {
			for over.Err() == nil {
				calls.add(call(client))
				streams.add(chat(client, worker, settings.messages))
				time.Sleep(pause)
			}
		})
	}
	workers.Wait()
	return map[string]any{"calls": calls, "streams": streams}, nil
}

// chat opens a stream, exchanges messages with pauses between and ends it.
func chat(client testgrpc.TestServiceClient, seed, messages int) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	stream, err := openEcho(ctx, client)
	if err != nil {
		return "", err
	}
	return talk(stream, seed, messages)
}

// talk exchanges messages with pauses between, ends the stream and says which backend it had.
func talk(stream testgrpc.TestService_FullDuplexCallClient, seed, messages int) (string, error) {
	for i := range messages {
		if err := exchange(stream, payload(seed+i, 200)); err != nil {
			return "", err
		}
		time.Sleep(pause)
	}
	header, err := stream.Header()
	if err != nil {
		return "", err
	}
	return backendOf(header), finish(stream)
}
