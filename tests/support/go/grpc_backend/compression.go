package main

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

type lastMessageKey struct{}

// compressionWatch notes of each call whether its latest message came compressed, which a handler is not told.
type compressionWatch struct{}

func (compressionWatch) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, lastMessageKey{}, new(atomic.Bool))
}

func (compressionWatch) HandleRPC(ctx context.Context, event stats.RPCStats) {
	if in, ok := event.(*stats.InPayload); ok {
		ctx.Value(lastMessageKey{}).(*atomic.Bool).Store(in.CompressedLength != in.Length)
	}
}

func (compressionWatch) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return ctx
}

func (compressionWatch) HandleConn(context.Context, stats.ConnStats) {}

// checkCompression fails with INVALID_ARGUMENT when the client says how its message is compressed and it
// came otherwise (interop-test-descriptions.md, "Server features").
func checkCompression(ctx context.Context, expected *testpb.BoolValue) error {
	came := ctx.Value(lastMessageKey{}).(*atomic.Bool).Load()
	if expected != nil && expected.GetValue() != came {
		return status.Errorf(codes.InvalidArgument, "compressed: %t, expected: %t", came, expected.GetValue())
	}
	return nil
}
