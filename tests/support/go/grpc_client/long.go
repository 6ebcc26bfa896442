package main

import (
	"context"
	"sync"

	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// long keeps streams open for as many messages as asked for. A line on standard output says when all are
// open and have carried their first message.
func long(client testgrpc.TestServiceClient, settings settings) (any, error) {
	streams := newTally()
	var opened, closed sync.WaitGroup
	for i := range settings.streams {
		opened.Add(1)
		closed.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 3*limit)
			defer cancel()
			stream, err := openEcho(ctx, client)
			if err == nil {
				err = exchange(stream, payload(i, 100))
			}
			opened.Done()
			opened.Wait()
			if err != nil {
				streams.add("", err)
				return
			}
			streams.add(talk(stream, i, settings.messages))
		})
	}
	opened.Wait()
	print(map[string]bool{"open": true})
	closed.Wait()
	return map[string]any{"streams": streams}, nil
}
