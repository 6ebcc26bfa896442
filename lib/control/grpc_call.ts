/**
 * What all calls of management over gRPC have in common.
 *
 * @module
 */
import type { Metadata } from "@grpc/grpc-js";
import { describeError } from "../common/errors.ts";
import { GrpcStatus } from "../grpc/status.ts";
import { getLogger } from "../observe/logger.ts";
import { ManagementError, type ManagementErrorCode } from "./management_error.ts";

const STATUS: Readonly<Record<ManagementErrorCode, GrpcStatus>> = {
  invalid_argument: GrpcStatus.InvalidArgument,
  unauthenticated: GrpcStatus.Unauthenticated,
  permission_denied: GrpcStatus.PermissionDenied,
  not_found: GrpcStatus.NotFound,
  failed_precondition: GrpcStatus.FailedPrecondition,
  payload_too_large: GrpcStatus.ResourceExhausted,
  // Of HTTP only.
  method_not_allowed: GrpcStatus.Unimplemented,
  unsupported_media_type: GrpcStatus.InvalidArgument,
};

const log = getLogger("management");

/** What every call has that is looked at before it is answered. */
export interface AnyCall {
  /** What the client, and the proxy, said. */
  readonly metadata: Metadata;
  /** The `:authority`. */
  getHost(): string;
  /** The method's path. */
  getPath(): string;
}

/** What the client is told of a failure. */
export function toStatus(error: unknown): Error & { code: GrpcStatus; details: string } {
  if (error instanceof ManagementError) {
    return Object.assign(new Error(error.message), {
      code: STATUS[error.code],
      details: error.message,
    });
  }
  log.error("a management call failed", { error: describeError(error) });
  const details = "The load balancer failed.";
  return Object.assign(new Error(details), { code: GrpcStatus.Internal, details });
}
