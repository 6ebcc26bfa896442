// Command grpc_client makes real calls with grpc-go for tests that ask for more than the interop client. Its
// first argument says what is done; it prints what came of it as JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
)

// limit is how long a call may take before it counts as hanging.
const limit = 20 * time.Second

// commands are what the first argument may be.
var commands = map[string]func(client testgrpc.TestServiceClient, settings settings) (any, error){
	"compress": compress,
	"spread":   spread,
	"steady":   steady,
	"long":     long,
}

// settings are the numbers of a run.
type settings struct {
	streams, calls, messages int
}

func main() {
	log.SetFlags(0)
	flags := flag.NewFlagSet(os.Args[0], flag.ExitOnError)
	addr := flags.String("addr", "", "the server")
	var settings settings
	flags.IntVar(&settings.streams, "streams", 1, "how many streams are open at a time")
	flags.IntVar(&settings.calls, "calls", 1, "how many unary calls are made")
	flags.IntVar(&settings.messages, "messages", 1, "how many messages a stream carries each way")
	if len(os.Args) < 2 {
		log.Fatal("the first argument says what is done")
	}
	if err := flags.Parse(os.Args[2:]); err != nil {
		log.Fatal(err)
	}
	outcome, err := run(os.Args[1], *addr, settings)
	if err != nil {
		log.Fatal(err)
	}
	print(outcome)
}

func run(name, addr string, settings settings) (any, error) {
	if name == "encoder" {
		return encoder(addr)
	}
	command, ok := commands[name]
	if !ok {
		return nil, fmt.Errorf("%q is none of the commands", name)
	}
	// One address, so the policy pick_first keeps one connection.
	conn, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStatsHandler(compressionWatch{}))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return command(testgrpc.NewTestServiceClient(conn), settings)
}

// print writes one line of JSON to standard output.
func print(value any) {
	if err := json.NewEncoder(os.Stdout).Encode(value); err != nil {
		log.Fatal(err)
	}
}

// backendOf is the backend that named itself in the header of an answer.
func backendOf(header metadata.MD) string {
	if names := header.Get("backend"); len(names) == 1 {
		return names[0]
	}
	return fmt.Sprintf("unknown: %v", header)
}

// payload is what a message carries: as many bytes as asked for, the same for the same seed.
func payload(seed, size int) *testpb.Payload {
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(seed + i)
	}
	return &testpb.Payload{Body: body}
}

// openEcho opens a stream that gives every payload back.
func openEcho(ctx context.Context, client testgrpc.TestServiceClient) (testgrpc.TestService_FullDuplexCallClient, error) {
	return client.FullDuplexCall(metadata.AppendToOutgoingContext(ctx, "echo", "1"))
}
