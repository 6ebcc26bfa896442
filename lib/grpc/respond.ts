/**
 * Answers that the proxy makes itself, as field blocks.
 *
 * @module
 */
import type { ErrorCode } from "../common/errors.ts";
import { answerTo, retryAfterOf } from "../http/problem.ts";
import { type EncodedName, encodeName, Encoder } from "../http/h2/hpack/encoder.ts";
import { ByteWriter } from "../http/h1/writer.ts";
import { type GrpcStatus, statusOf } from "./status.ts";

const encoder = new Encoder();
const CONTENT_TYPE: EncodedName = encodeName("content-type");
const CONTENT_LENGTH: EncodedName = encodeName("content-length");
const GRPC_STATUS: EncodedName = encodeName("grpc-status");
const GRPC_MESSAGE: EncodedName = encodeName("grpc-message");
const RETRY_AFTER: EncodedName = encodeName("retry-after");
const PUSHBACK: EncodedName = encodeName("grpc-retry-pushback-ms");

/**
 * Errors that tell a client when to try again (gRFC A6, Pushback): there is too much to do, and clients that all came
 * back by their own backoff would bring as much again.
 */
const PUSHED_BACK: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "local_exhausted",
  "overloaded",
  "pool_exhausted",
  "rate_limited",
]);

/**
 * A Trailers-Only response: one HEADERS with END_STREAM (grpc/doc/PROTOCOL-HTTP2.md). The status line is
 * 200 whatever happened; what happened is in `grpc-status`.
 */
export function encodeTrailersOnly(status: GrpcStatus, message: string): Uint8Array {
  const out = new ByteWriter(new Uint8Array(128));
  encoder.status(out, 200);
  encoder.field(out, CONTENT_TYPE, "application/grpc");
  encoder.field(out, GRPC_STATUS, String(status));
  encoder.field(out, GRPC_MESSAGE, encodeMessage(message));
  return out.written;
}

/**
 * The same for an error of the proxy.
 *
 * @param wait In how many milliseconds trying again makes sense, where that is known.
 */
export function encodeGrpcError(code: ErrorCode, wait?: number): Uint8Array {
  const { detail, retryAfter } = answerTo(code);
  const block = encodeTrailersOnly(statusOf(code), detail);
  if (!PUSHED_BACK.has(code)) return block;
  const out = new ByteWriter(block);
  out.at = block.length;
  const pushback = Math.min(MAX_PUSHBACK, Math.ceil(wait ?? (retryAfter ?? 0) * 1000));
  encoder.field(out, PUSHBACK, String(pushback));
  return out.written;
}

/** Clients read a signed 32-bit number. */
const MAX_PUSHBACK = 2 ** 31 - 1;

/** The trailers of an answer whose head has gone already. */
export function encodeTrailers(status: GrpcStatus, message: string): Uint8Array {
  const out = new ByteWriter(new Uint8Array(128));
  encoder.field(out, GRPC_STATUS, String(status));
  if (message !== "") encoder.field(out, GRPC_MESSAGE, encodeMessage(message));
  return out.written;
}

/** The same for an answer that broke off. */
export function encodeGrpcTrailers(code: ErrorCode): Uint8Array {
  return encodeTrailers(statusOf(code), answerTo(code).detail);
}

/** The head of an answer with messages. */
export function encodeGrpcHead(): Uint8Array {
  const out = new ByteWriter(new Uint8Array(32));
  encoder.status(out, 200);
  encoder.field(out, CONTENT_TYPE, "application/grpc");
  return out.written;
}

/** The head of a response without a body, for requests that are no gRPC calls; `wait` as above. */
export function encodeHttpError(code: ErrorCode, wait?: number): Uint8Array {
  const { status } = answerTo(code);
  const retryAfter = retryAfterOf(code, wait);
  const out = new ByteWriter(new Uint8Array(64));
  encoder.status(out, status);
  encoder.field(out, CONTENT_LENGTH, "0");
  if (retryAfter !== undefined) encoder.field(out, RETRY_AFTER, String(retryAfter));
  return out.written;
}

/** What {@linkcode decodeMessage} takes at a time. */
const ESCAPED = /(?:%[0-9A-Fa-f]{2})+/g;

/**
 * The text of a `grpc-message`. PROTOCOL-HTTP2.md, Status-Message: "When decoding invalid values,
 * implementations MUST NOT error or throw away the message."
 */
export function decodeMessage(message: string): string {
  return message.replace(ESCAPED, (escapes) => {
    const bytes = Uint8Array.from(escapes.slice(1).split("%"), (hex) => parseInt(hex, 16));
    return new TextDecoder().decode(bytes);
  });
}

/** `grpc-message`: UTF-8, with what is not printable ASCII, and `%`, escaped (PROTOCOL-HTTP2.md). */
export function encodeMessage(message: string): string {
  let text = "";
  for (const byte of new TextEncoder().encode(message)) {
    text += byte >= 0x20 && byte <= 0x7e && byte !== 0x25
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return text;
}
