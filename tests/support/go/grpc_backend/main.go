// Command grpc_backend is a gRPC server for conformance tests: the interop service of grpc-go, health and
// reflection (v1 and v1alpha). It prints one line of JSON once it listens and stops gracefully on SIGTERM.
package main

import (
	"encoding/json"
	"flag"
	"log"
	"math"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
)

// maxMessage is enough for the big messages of the tests, with their framing.
const maxMessage = 16 << 20

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "where to listen")
	name := flag.String("name", "", "what answers say of who gave them; nothing if empty")
	maxStreams := flag.Uint("max-streams", math.MaxUint32, "streams of a connection at a time")
	maxAge := flag.Duration("max-connection-age", time.Duration(math.MaxInt64),
		"after which a connection gets GOAWAY; its streams may end")
	flag.Parse()

	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(uint32(*maxStreams)),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: *maxAge}),
		grpc.StatsHandler(compressionWatch{}),
		grpc.UnaryInterceptor(nameUnary(*name)),
		grpc.StreamInterceptor(nameStream(*name)),
	)
	testgrpc.RegisterTestServiceServer(server, newService(*name))
	healthgrpc.RegisterHealthServer(server, health.NewServer())
	reflection.Register(server)

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		server.GracefulStop()
	}()
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"addr": listener.Addr().String()}); err != nil {
		log.Fatal(err)
	}
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
}
