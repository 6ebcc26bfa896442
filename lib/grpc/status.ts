/**
 * gRPC status codes, and which one stands for what went wrong in the proxy.
 *
 * @module
 */
import type { ErrorCode } from "../common/errors.ts";

/** Status codes of gRPC (grpc/doc/statuscodes.md). */
export const GrpcStatus = {
  Ok: 0,
  Cancelled: 1,
  Unknown: 2,
  InvalidArgument: 3,
  DeadlineExceeded: 4,
  NotFound: 5,
  AlreadyExists: 6,
  PermissionDenied: 7,
  ResourceExhausted: 8,
  FailedPrecondition: 9,
  Aborted: 10,
  OutOfRange: 11,
  Unimplemented: 12,
  Internal: 13,
  Unavailable: 14,
  DataLoss: 15,
  Unauthenticated: 16,
} as const;

/** A status code. */
export type GrpcStatus = number;

const STATUS_OF: Readonly<Partial<Record<ErrorCode, GrpcStatus>>> = {
  no_route: GrpcStatus.Unimplemented,
  bad_target: GrpcStatus.InvalidArgument,
  head_too_large: GrpcStatus.ResourceExhausted,
  no_backend: GrpcStatus.Unavailable,
  pool_exhausted: GrpcStatus.Unavailable,
  connect_refused: GrpcStatus.Unavailable,
  connect_timeout: GrpcStatus.Unavailable,
  connect_failed: GrpcStatus.Unavailable,
  tls_failed: GrpcStatus.Unavailable,
  upstream_closed: GrpcStatus.Unavailable,
  upstream_reset: GrpcStatus.Unavailable,
  upstream_timeout: GrpcStatus.DeadlineExceeded,
};

/** The status that a client gets for an error of the proxy; INTERNAL where nothing else fits. */
export function statusOf(code: ErrorCode): GrpcStatus {
  return STATUS_OF[code] ?? GrpcStatus.Internal;
}
