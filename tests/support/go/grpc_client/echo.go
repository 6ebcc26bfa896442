package main

import (
	"bytes"
	"fmt"
	"io"

	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	testpb "google.golang.org/grpc/interop/grpc_testing"
)

// exchange sends a payload and fails unless the same comes back.
func exchange(stream testgrpc.TestService_FullDuplexCallClient, sent *testpb.Payload) error {
	if err := stream.Send(&testpb.StreamingOutputCallRequest{Payload: sent}); err != nil && err != io.EOF {
		return err
	}
	// Where sending said EOF, receiving says why the stream ended.
	in, err := stream.Recv()
	if err == io.EOF {
		return fmt.Errorf("the stream ended before its answer")
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(in.GetPayload().GetBody(), sent.GetBody()) {
		return fmt.Errorf("%d bytes were sent, %d others came back",
			len(sent.GetBody()), len(in.GetPayload().GetBody()))
	}
	return nil
}

// finish closes the sending side and fails unless the stream ends well, with nothing more to read.
func finish(stream testgrpc.TestService_FullDuplexCallClient) error {
	if err := stream.CloseSend(); err != nil {
		return err
	}
	switch in, err := stream.Recv(); err {
	case io.EOF:
		return nil
	case nil:
		return fmt.Errorf("a message that nobody waits for came: %v", in)
	default:
		return err
	}
}
