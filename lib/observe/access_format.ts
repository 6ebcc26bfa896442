/**
 * One line per exchange: what an access log records and the two formats it is written in. Pure
 * functions; what a client sent cannot forge a line in either.
 *
 * @module
 */

import { escapeBytes, escapeWord, quoteJson } from "./escape.ts";
import { NO_STATUS, splitMethod } from "./grpc_metrics.ts";

/** What is recorded of a gRPC call beside that. */
export interface GrpcAccessRecord {
  /** The `grpc-status`: that of the answer, or the one that clients make of an answer without any. */
  readonly status: number;
  /** The `grpc-message`, decoded; only its first {@linkcode MAX_MESSAGE} characters are written. */
  readonly message: string;
  /** Messages that came from the client in full. */
  readonly messagesIn: number;
  /** Messages that came from the backend in full. */
  readonly messagesOut: number;
  /** The value of `grpc-timeout` as sent. */
  readonly timeout: string;
}

/** Characters of a `grpc-message` that are written; backends put whole stack traces there. */
export const MAX_MESSAGE = 256;

/** What is recorded of one exchange. Text that is not known is empty. */
export interface AccessRecord {
  /** When it ended, in milliseconds since the epoch. */
  readonly time: number;
  /** The listener's name. */
  readonly listener: string;
  /** The client's address. */
  readonly client: string;
  /** The method as sent. */
  readonly method: string;
  /** The target as sent, query included. */
  readonly target: string;
  /** The protocol, e.g. `HTTP/1.1`. */
  readonly protocol: string;
  /** The final status; 0 when the exchange ended without one. */
  readonly status: number;
  /** Bytes received from the client. */
  readonly bytesIn: number;
  /** Bytes sent to the client. */
  readonly bytesOut: number;
  /** From the first byte of the request to the last of the response, in milliseconds. */
  readonly durationMs: number;
  /** The route's id. */
  readonly route: string;
  /** The address of the backend of the last attempt. */
  readonly backend: string;
  /** How often a backend was tried. */
  readonly attempts: number;
  /** The value of `X-Request-Id`. */
  readonly requestId: string;
  /** The host the request names. */
  readonly host: string;
  /** The value of `User-Agent`. */
  readonly userAgent: string;
  /** The value of `Referer`. */
  readonly referer: string;
  /** The error code; empty when all went well. */
  readonly error: string;
  /** Set for gRPC calls. */
  readonly grpc?: GrpcAccessRecord;
}

/** Builds a formatter of the part of a time above milliseconds that works once per second. */
function perSecond(format: (second: number) => string): (time: number) => string {
  let cachedSecond = NaN;
  let cached = "";
  return (time) => {
    const second = Math.floor(time / 1000);
    if (second !== cachedSecond) {
      cached = format(second);
      cachedSecond = second;
    }
    return cached;
  };
}

const isoSecond = perSecond((second) => new Date(second * 1000).toISOString().slice(0, -4));

const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

const commonLogSecond = perSecond((second) => {
  const iso = new Date(second * 1000).toISOString();
  return `${iso.slice(8, 10)}/${MONTHS[Number(iso.slice(5, 7)) - 1]}/${iso.slice(0, 4)}:` +
    `${iso.slice(11, 19)} +0000`;
});

/** JSON has no other numbers than finite ones (RFC 8259, section 6). */
function jsonNumber(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/**
 * One JSON object with names in snake case, without a line end. The time is UTC with milliseconds
 * (RFC 3339), `duration_ms` is rounded to microseconds. Those of gRPC calls have more: service and method
 * apart, `grpc_status` as a number or `null` when there was none, and what else {@linkcode GrpcAccessRecord} has.
 *
 * @throws `RangeError` when the time is not a valid one.
 */
export function formatJson(record: AccessRecord): string {
  const milliseconds = String(Math.floor(record.time) % 1000).padStart(3, "0");
  return `{"time":"${isoSecond(record.time)}${milliseconds}Z"` +
    `,"listener":${quoteJson(record.listener)}` +
    `,"client":${quoteJson(record.client)}` +
    `,"method":${quoteJson(record.method)}` +
    `,"host":${quoteJson(record.host)}` +
    `,"target":${quoteJson(record.target)}` +
    `,"protocol":${quoteJson(record.protocol)}` +
    `,"status":${jsonNumber(record.status)}` +
    `,"bytes_in":${jsonNumber(record.bytesIn)}` +
    `,"bytes_out":${jsonNumber(record.bytesOut)}` +
    `,"duration_ms":${jsonNumber(Math.round(record.durationMs * 1000) / 1000)}` +
    `,"route":${quoteJson(record.route)}` +
    `,"backend":${quoteJson(record.backend)}` +
    `,"attempts":${jsonNumber(record.attempts)}` +
    `,"request_id":${quoteJson(record.requestId)}` +
    `,"user_agent":${quoteJson(record.userAgent)}` +
    `,"referer":${quoteJson(record.referer)}` +
    `,"error":${quoteJson(record.error)}` +
    `${record.grpc === undefined ? "" : grpcJson(record.grpc, record.target)}}`;
}

function grpcJson(grpc: GrpcAccessRecord, target: string): string {
  const { service = "", method = "" } = methodOf(target) ?? {};
  return `,"grpc_service":${quoteJson(service)}` +
    `,"grpc_method":${quoteJson(method)}` +
    `,"grpc_status":${grpc.status === NO_STATUS ? null : jsonNumber(grpc.status)}` +
    `,"grpc_message":${quoteJson(shorten(grpc.message))}` +
    `,"grpc_timeout":${quoteJson(grpc.timeout)}` +
    `,"messages_in":${jsonNumber(grpc.messagesIn)}` +
    `,"messages_out":${jsonNumber(grpc.messagesOut)}`;
}

/** Service and method, without the query that nobody should send. */
function methodOf(target: string): ReturnType<typeof splitMethod> {
  const query = target.indexOf("?");
  return splitMethod(query < 0 ? target : target.slice(0, query));
}

function shorten(message: string): string {
  if (message.length <= MAX_MESSAGE) return message;
  // Not between the halves of a character.
  return `${message.slice(0, MAX_MESSAGE).replace(/[\ud800-\udbff]$/, "")}…`;
}

/**
 * Apache's combined format, without a line end:
 * `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"`. An exchange without a status gets `000`,
 * as nginx writes it; one without a byte sent gets `-`, as Apache does. Behind that, gRPC calls have
 * `grpc_status=5 grpc_message="…" grpc_timeout=1S messages_in=1 messages_out=0 bytes_in=12`; service and
 * method are the target.
 *
 * @throws `RangeError` when the time is not a valid one.
 */
export function formatCombined(record: AccessRecord): string {
  const request = record.method === ""
    ? "-"
    : `${escapeBytes(record.method)} ${escapeBytes(record.target)} ${escapeBytes(record.protocol)}`;
  return `${escapeWord(record.client)} - - [${commonLogSecond(record.time)}] "${request}" ` +
    `${String(record.status).padStart(3, "0")} ${record.bytesOut > 0 ? record.bytesOut : "-"} ` +
    `"${escapeBytes(record.referer || "-")}" "${escapeBytes(record.userAgent || "-")}"` +
    (record.grpc === undefined ? "" : grpcCombined(record.grpc, record.bytesIn));
}

function grpcCombined(grpc: GrpcAccessRecord, bytesIn: number): string {
  return ` grpc_status=${grpc.status === NO_STATUS ? "-" : grpc.status}` +
    ` grpc_message="${escapeBytes(shorten(grpc.message) || "-")}"` +
    ` grpc_timeout=${escapeWord(grpc.timeout)}` +
    ` messages_in=${grpc.messagesIn} messages_out=${grpc.messagesOut} bytes_in=${bytesIn}`;
}
