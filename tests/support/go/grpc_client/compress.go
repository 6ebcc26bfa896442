package main

import (
	"context"
	"fmt"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// The sizes that interop-test-descriptions.md names.
const (
	requestSize  = 271828
	responseSize = 314159
)

var (
	yes      = &testpb.BoolValue{Value: true}
	no       = &testpb.BoolValue{Value: false}
	withGzip = grpc.UseCompressor(gzip.Name)
)

type lastMessageKey struct{}

// compressionWatch notes of calls whether their latest message came compressed.
type compressionWatch struct{}

func (compressionWatch) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (compressionWatch) HandleRPC(ctx context.Context, event stats.RPCStats) {
	in, isPayload := event.(*stats.InPayload)
	if last, watched := ctx.Value(lastMessageKey{}).(*atomic.Bool); watched && isPayload {
		last.Store(in.CompressedLength != in.Length)
	}
}

func (compressionWatch) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return ctx
}

func (compressionWatch) HandleConn(context.Context, stats.ConnStats) {}

// compress makes the four compression cases of interop-test-descriptions.md, which grpc-go's own client
// leaves out, and prints "ok" or what was wrong for each.
func compress(client testgrpc.TestServiceClient, _ settings) (any, error) {
	outcomes := map[string]string{}
	for name, run := range map[string]func(context.Context, testgrpc.TestServiceClient) error{
		"client_compressed_unary":     clientCompressedUnary,
		"server_compressed_unary":     serverCompressedUnary,
		"client_compressed_streaming": clientCompressedStreaming,
		"server_compressed_streaming": serverCompressedStreaming,
	} {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		outcomes[name] = "ok"
		if err := run(ctx, client); err != nil {
			outcomes[name] = err.Error()
		}
		cancel()
	}
	return outcomes, nil
}

// expectInvalid wants the status with which a server refuses a message that is not compressed as announced.
func expectInvalid(err error) error {
	if status.Code(err) != codes.InvalidArgument {
		return fmt.Errorf("the probe ended with %v, want INVALID_ARGUMENT", err)
	}
	return nil
}

func clientCompressedUnary(ctx context.Context, client testgrpc.TestServiceClient) error {
	request := func(expected *testpb.BoolValue) *testpb.SimpleRequest {
		return &testpb.SimpleRequest{
			ExpectCompressed: expected,
			ResponseSize:     responseSize,
			Payload:          &testpb.Payload{Body: make([]byte, requestSize)},
		}
	}
	_, err := client.UnaryCall(ctx, request(yes))
	if err := expectInvalid(err); err != nil {
		return err
	}
	for _, call := range []struct {
		request *testpb.SimpleRequest
		options []grpc.CallOption
	}{{request(yes), []grpc.CallOption{withGzip}}, {request(no), nil}} {
		out, err := client.UnaryCall(ctx, call.request, call.options...)
		if err != nil {
			return err
		}
		if size := len(out.GetPayload().GetBody()); size != responseSize {
			return fmt.Errorf("%d bytes came, want %d", size, responseSize)
		}
	}
	return nil
}

func serverCompressedUnary(ctx context.Context, client testgrpc.TestServiceClient) error {
	for _, compressed := range []*testpb.BoolValue{yes, no} {
		var last atomic.Bool
		out, err := client.UnaryCall(context.WithValue(ctx, lastMessageKey{}, &last), &testpb.SimpleRequest{
			ResponseCompressed: compressed,
			ResponseSize:       responseSize,
			Payload:            &testpb.Payload{Body: make([]byte, requestSize)},
		})
		if err != nil {
			return err
		}
		if size := len(out.GetPayload().GetBody()); size != responseSize {
			return fmt.Errorf("%d bytes came, want %d", size, responseSize)
		}
		if last.Load() != compressed.GetValue() {
			return fmt.Errorf("compressed: %t, want %t", last.Load(), compressed.GetValue())
		}
	}
	return nil
}

func clientCompressedStreaming(ctx context.Context, client testgrpc.TestServiceClient) error {
	const first, second = 27182, 45904
	message := func(size int, expected *testpb.BoolValue) *testpb.StreamingInputCallRequest {
		return &testpb.StreamingInputCallRequest{
			ExpectCompressed: expected,
			Payload:          &testpb.Payload{Body: make([]byte, size)},
		}
	}
	probe, err := client.StreamingInputCall(ctx)
	if err != nil {
		return err
	}
	// What is prepared for a stream has the compression of that stream: here none.
	var uncompressed grpc.PreparedMsg
	if err := uncompressed.Encode(probe, message(second, no)); err != nil {
		return err
	}
	if err := probe.Send(message(first, yes)); err != nil {
		return err
	}
	_, err = probe.CloseAndRecv()
	if err := expectInvalid(err); err != nil {
		return err
	}
	stream, err := client.StreamingInputCall(ctx, withGzip)
	if err != nil {
		return err
	}
	if err := stream.Send(message(first, yes)); err != nil {
		return err
	}
	if err := stream.SendMsg(&uncompressed); err != nil {
		return err
	}
	out, err := stream.CloseAndRecv()
	if err != nil {
		return err
	}
	if size := out.GetAggregatedPayloadSize(); size != first+second {
		return fmt.Errorf("%d bytes arrived, want %d", size, first+second)
	}
	return nil
}

func serverCompressedStreaming(ctx context.Context, client testgrpc.TestServiceClient) error {
	var last atomic.Bool
	parameters := []*testpb.ResponseParameters{
		{Compressed: yes, Size: 31415},
		{Compressed: no, Size: 92653},
	}
	stream, err := client.StreamingOutputCall(context.WithValue(ctx, lastMessageKey{}, &last),
		&testpb.StreamingOutputCallRequest{ResponseParameters: parameters})
	if err != nil {
		return err
	}
	for _, want := range parameters {
		out, err := stream.Recv()
		if err != nil {
			return err
		}
		if size := len(out.GetPayload().GetBody()); size != int(want.GetSize()) {
			return fmt.Errorf("%d bytes came, want %d", size, want.GetSize())
		}
		if last.Load() != want.GetCompressed().GetValue() {
			return fmt.Errorf("compressed: %t, want %t", last.Load(), want.GetCompressed().GetValue())
		}
	}
	return nil
}
