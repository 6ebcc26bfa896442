/**
 * Why a health check over gRPC failed, for people.
 *
 * @module
 */
import { describeError } from "../common/errors.ts";
import { STATUS_LABELS } from "../observe/grpc_metrics.ts";
import { GrpcCallError } from "./client.ts";
import { decodeMessage } from "./respond.ts";

/** Characters of a message of the backend that are told on. */
export const MAX_TEXT = 200;

/**
 * The reason as text: with the status and the service asked for where the backend has answered.
 *
 * @param service The service asked for; the server as a whole unless given.
 */
export function describeCheck(error: unknown, service: string | undefined): string {
  if (!(error instanceof GrpcCallError)) return describeError(error);
  if (!error.given) return error.message;
  const { status, message } = error;
  const whom = service === undefined ? "the server as a whole" : service;
  const text = decodeMessage(message).slice(0, MAX_TEXT);
  return `grpc-status ${status} (${STATUS_LABELS[status] ?? "unknown"}) for ${whom}: ${text}`;
}
