package main

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// backendKey is the header of every answer that says which backend gave it.
const backendKey = "backend"

func nameUnary(name string) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if name != "" {
			if err := grpc.SetHeader(ctx, metadata.Pairs(backendKey, name)); err != nil {
				return nil, err
			}
		}
		return next(ctx, request)
	}
}

func nameStream(name string) grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		if name != "" {
			if err := stream.SetHeader(metadata.Pairs(backendKey, name)); err != nil {
				return err
			}
		}
		return next(server, stream)
	}
}
