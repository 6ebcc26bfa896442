/**
 * gRPC status codes, and which one stands for what went wrong in the proxy.
 *
 * @module
 */
import type { ErrorCode } from "../common/errors.ts";
import { H2Code } from "../http/h2/errors.ts";

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
  overloaded: GrpcStatus.Unavailable,
  rate_limited: GrpcStatus.ResourceExhausted,
  connect_refused: GrpcStatus.Unavailable,
  connect_timeout: GrpcStatus.Unavailable,
  connect_failed: GrpcStatus.Unavailable,
  tls_failed: GrpcStatus.Unavailable,
  upstream_closed: GrpcStatus.Unavailable,
  upstream_reset: GrpcStatus.Unavailable,
  upstream_protocol: GrpcStatus.Unavailable,
  upstream_stalled: GrpcStatus.Unavailable,
  local_exhausted: GrpcStatus.Unavailable,
  shutdown: GrpcStatus.Unavailable,
  upstream_timeout: GrpcStatus.DeadlineExceeded,
  deadline_exceeded: GrpcStatus.DeadlineExceeded,
};

/** The status that a client gets for an error of the proxy; INTERNAL where nothing else fits. */
export function statusOf(code: ErrorCode): GrpcStatus {
  return STATUS_OF[code] ?? GrpcStatus.Internal;
}

const STATUS_OF_HTTP: ReadonlyMap<number, GrpcStatus> = new Map([
  [400, GrpcStatus.Internal],
  [401, GrpcStatus.Unauthenticated],
  [403, GrpcStatus.PermissionDenied],
  [404, GrpcStatus.Unimplemented],
  [429, GrpcStatus.Unavailable],
  [502, GrpcStatus.Unavailable],
  [503, GrpcStatus.Unavailable],
  [504, GrpcStatus.Unavailable],
]);

/**
 * What clients make of an answer without a `grpc-status` by its HTTP status, which is not 200
 * (grpc/doc/http-grpc-status-mapping.md).
 */
export function statusOfHttp(status: number): GrpcStatus {
  return STATUS_OF_HTTP.get(status) ?? GrpcStatus.Unknown;
}

const STATUS_OF_RESET: ReadonlyMap<number, GrpcStatus> = new Map([
  [H2Code.RefusedStream, GrpcStatus.Unavailable],
  [H2Code.Cancel, GrpcStatus.Cancelled],
  [H2Code.EnhanceYourCalm, GrpcStatus.ResourceExhausted],
  [H2Code.InadequateSecurity, GrpcStatus.PermissionDenied],
]);

/** What clients make of RST_STREAM by its code (grpc/doc/PROTOCOL-HTTP2.md, Errors). */
export function statusOfReset(code: number): GrpcStatus {
  return STATUS_OF_RESET.get(code) ?? GrpcStatus.Internal;
}
