package main

import (
	"context"
	"io"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// echoKey is the metadata that asks for the same payloads back.
const echoKey = "echo"

// service is the interop service with what grpc-go leaves out: its name as server id, details in errors,
// compression as asked for, and the same payload back where the request names no size.
type service struct {
	testgrpc.TestServiceServer
	name string
}

func newService(name string) *service {
	return &service{TestServiceServer: interop.NewTestServer(), name: name}
}

func (s *service) UnaryCall(ctx context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	if err := checkCompression(ctx, in.GetExpectCompressed()); err != nil {
		return nil, err
	}
	if in.GetResponseCompressed().GetValue() {
		if err := grpc.SetSendCompressor(ctx, gzip.Name); err != nil {
			return nil, err
		}
	}
	out, err := s.TestServiceServer.UnaryCall(ctx, in)
	if err != nil {
		return nil, withDetails(err)
	}
	if in.GetResponseSize() == 0 {
		out.Payload = in.GetPayload()
	}
	if in.GetFillServerId() {
		out.ServerId = s.name
	}
	return out, nil
}

// withDetails adds the details of the rich error model (google/rpc/status.proto) to an error.
func withDetails(err error) error {
	detailed, failure := status.Convert(err).WithDetails(
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: "response_status", Description: "asked for an error ☺"},
		}},
		&errdetails.ErrorInfo{Reason: "ASKED", Domain: "lb.test", Metadata: map[string]string{"key": "value"}},
	)
	if failure != nil {
		return failure
	}
	return detailed.Err()
}

func (s *service) StreamingInputCall(stream testgrpc.TestService_StreamingInputCallServer) error {
	var size int
	for {
		in, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&testpb.StreamingInputCallResponse{AggregatedPayloadSize: int32(size)})
		}
		if err != nil {
			return err
		}
		if err := checkCompression(stream.Context(), in.GetExpectCompressed()); err != nil {
			return err
		}
		size += len(in.GetPayload().GetBody())
	}
}

func (s *service) StreamingOutputCall(in *testpb.StreamingOutputCallRequest, stream testgrpc.TestService_StreamingOutputCallServer) error {
	compressed := func(parameters *testpb.ResponseParameters) bool { return parameters.GetCompressed().GetValue() }
	mixed := false
	for _, parameters := range in.GetResponseParameters() {
		mixed = mixed || compressed(parameters)
	}
	if !mixed {
		return s.TestServiceServer.StreamingOutputCall(in, stream)
	}
	if err := grpc.SetSendCompressor(stream.Context(), gzip.Name); err != nil {
		return err
	}
	for _, parameters := range in.GetResponseParameters() {
		out := &testpb.StreamingOutputCallResponse{
			Payload: &testpb.Payload{Body: make([]byte, parameters.GetSize())},
		}
		if compressed(parameters) {
			if err := stream.Send(out); err != nil {
				return err
			}
			continue
		}
		// What is prepared has the compression that the client asked for, which is none.
		var prepared grpc.PreparedMsg
		if err := prepared.Encode(stream, out); err != nil {
			return err
		}
		if err := stream.SendMsg(&prepared); err != nil {
			return err
		}
	}
	return nil
}

// FullDuplexCall sends every payload back if the metadata has echoKey.
func (s *service) FullDuplexCall(stream testgrpc.TestService_FullDuplexCallServer) error {
	if len(metadata.ValueFromIncomingContext(stream.Context(), echoKey)) == 0 {
		return s.TestServiceServer.FullDuplexCall(stream)
	}
	for {
		in, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: in.GetPayload()}); err != nil {
			return err
		}
	}
}
