/**
 * Turns errors of the proxy into HTTP/1.1 responses. The cause of an error is for the log; a peer
 * sees its code and a fixed sentence.
 *
 * @module
 */
import { STATUS_TEXT } from "@std/http";
import type { ErrorCode } from "../common/errors.ts";
import { latin1 } from "./h1/chars.ts";
import { httpDate } from "./http_date.ts";

/** What a client is told of an error. */
export interface Answer {
  /** The status code. */
  readonly status: number;
  /** A sentence for people. */
  readonly detail: string;
  /** Seconds for `Retry-After` (RFC 9110, section 10.2.3), where trying again makes sense. */
  readonly retryAfter?: number;
}

const BAD_REQUEST = 400;

/** The answer to each error; those that have none end with the connection. */
const ANSWERS: Readonly<Record<ErrorCode, Answer>> = {
  bad_request_line: { status: BAD_REQUEST, detail: "The request line is malformed." },
  bad_target: { status: BAD_REQUEST, detail: "The request target is malformed." },
  bad_version: { status: 505, detail: "HTTP/1.0 and HTTP/1.1 are spoken here." },
  bad_field: { status: BAD_REQUEST, detail: "A header field is malformed." },
  bad_host: { status: BAD_REQUEST, detail: "The request needs exactly one valid Host." },
  bad_framing: { status: BAD_REQUEST, detail: "The length of the body is ambiguous." },
  bad_chunk: { status: BAD_REQUEST, detail: "The chunked body is malformed." },
  bad_expect: { status: 417, detail: "Only the expectation 100-continue is understood." },
  bad_timeout: { status: BAD_REQUEST, detail: "The value of grpc-timeout is malformed." },
  unsupported_coding: { status: 501, detail: "The only transfer coding taken is chunked." },
  method_not_allowed: { status: 405, detail: "The method is not allowed here." },
  method_not_implemented: { status: 501, detail: "The method is not known here." },
  line_too_long: { status: 414, detail: "The request target is too long." },
  head_too_large: { status: 431, detail: "The header fields are too large or too many." },
  body_too_large: { status: 413, detail: "The body is too large." },
  request_timeout: { status: 408, detail: "The request head did not arrive in time." },
  body_timeout: { status: 408, detail: "The request body stalled." },
  too_many_connections: {
    status: 503,
    detail: "Too many connections are open.",
    retryAfter: 1,
  },
  too_many_from_client: {
    status: 503,
    detail: "Too many connections of this client are open.",
    retryAfter: 1,
  },
  rate_limited: {
    status: 429,
    detail: "Requests come faster than they are taken.",
    retryAfter: 1,
  },
  client_closed: { status: BAD_REQUEST, detail: "The request ended early." },
  client_stalled: { status: 408, detail: "The client stopped taking the answer." },
  no_route: { status: 404, detail: "No route matches the request." },
  upgrade_unsupported: {
    status: 501,
    detail: "Protocol upgrades need a listener of the load balancer itself.",
  },
  no_backend: { status: 503, detail: "No backend is available.", retryAfter: 1 },
  pool_exhausted: {
    status: 503,
    detail: "All connections to the backend are busy.",
    retryAfter: 1,
  },
  overloaded: {
    status: 503,
    detail: "All backends have as many requests as they may have.",
    retryAfter: 1,
  },
  connect_refused: { status: 502, detail: "The backend refuses connections." },
  connect_timeout: { status: 504, detail: "The backend did not accept a connection in time." },
  connect_failed: { status: 502, detail: "The backend cannot be reached." },
  tls_failed: { status: 502, detail: "No TLS connection to the backend could be made." },
  upstream_closed: { status: 502, detail: "The backend closed the connection without an answer." },
  upstream_reset: { status: 502, detail: "The backend reset the connection." },
  upstream_timeout: { status: 504, detail: "The backend did not answer in time." },
  upstream_stalled: { status: 504, detail: "The backend stopped taking the request." },
  deadline_exceeded: { status: 504, detail: "The deadline of the call has passed." },
  upstream_protocol: { status: 502, detail: "The backend's answer is not valid HTTP." },
  local_exhausted: {
    status: 503,
    detail: "The load balancer has no room for another connection.",
    retryAfter: 1,
  },
  shutdown: { status: 503, detail: "The load balancer is shutting down.", retryAfter: 1 },
  internal: { status: 500, detail: "The load balancer failed." },
};

/** What a client is told of an error. */
export function answerTo(code: ErrorCode): Answer {
  return ANSWERS[code];
}

/** A problem document (RFC 9457) for an error. */
export function problemBody(code: ErrorCode): string {
  const { status, detail } = ANSWERS[code];
  return JSON.stringify({
    type: "about:blank",
    title: STATUS_TEXT[status],
    status,
    detail,
    code,
  }) + "\n";
}

/** What {@linkcode encodeResponse} writes. */
export interface LocalResponse {
  /** The status code. */
  readonly status: number;
  /** Fields, without those that frame the body. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** The body; only its length is sent when `noBody` is set. */
  readonly body: Uint8Array;
  /** Whether the request was HEAD. */
  readonly noBody: boolean;
  /** Whether the connection ends with this response. */
  readonly close: boolean;
}

/** The bytes of a response that we make ourselves. */
export function encodeResponse(response: LocalResponse): Uint8Array {
  const { status, body } = response;
  let text = `HTTP/1.1 ${status} ${STATUS_TEXT[status] ?? ""}\r\n`;
  for (const [name, value] of response.fields) text += `${name}: ${value}\r\n`;
  // RFC 9110, section 6.6.1: "An origin server with a clock […] MUST generate a Date header field".
  text += `Date: ${httpDate()}\r\n`;
  if (status !== 204 && status !== 304) text += `Content-Length: ${body.length}\r\n`;
  if (response.close) text += "Connection: close\r\n";
  const head = latin1(text + "\r\n");
  if (response.noBody || body.length === 0) return head;
  const bytes = new Uint8Array(head.length + body.length);
  bytes.set(head);
  bytes.set(body, head.length);
  return bytes;
}

const encoder = new TextEncoder();

/** The seconds for `Retry-After`, for an error of which more may be known: `wait` milliseconds. */
export function retryAfterOf(code: ErrorCode, wait: number | undefined): number | undefined {
  return wait === undefined ? ANSWERS[code].retryAfter : Math.max(1, Math.ceil(wait / 1000));
}

/**
 * The bytes of the response to an error.
 *
 * @param options.wait In how many milliseconds trying again makes sense, where that is known.
 */
export function encodeError(
  code: ErrorCode,
  { wait, ...options }: {
    readonly noBody: boolean;
    readonly close: boolean;
    readonly wait?: number | undefined;
  },
): Uint8Array {
  const { status } = ANSWERS[code];
  const retryAfter = retryAfterOf(code, wait);
  const fields: [string, string][] = [["Content-Type", "application/problem+json"]];
  if (retryAfter !== undefined) fields.push(["Retry-After", String(retryAfter)]);
  if (status === 405) fields.push(["Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"]);
  return encodeResponse({ status, fields, body: encoder.encode(problemBody(code)), ...options });
}
