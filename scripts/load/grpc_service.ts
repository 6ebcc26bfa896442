/**
 * The service that the gRPC backends of `outage` and `soak` serve, and what its clients must see.
 *
 * @module
 */
import { H2Code } from "../../lib/http/h2/errors.ts";
import { ByteWriter } from "../../lib/http/h1/writer.ts";
import { encodeName, Encoder } from "../../lib/http/h2/hpack/encoder.ts";
import type { H2Stream, StreamListener } from "../../lib/http/h2/stream.ts";

/** The service, for clients that need a definition. All messages are empty. */
export const LOAD_PROTO = `syntax = "proto3";
package load;
message Empty {}
service Load {
  rpc Unary(Empty) returns (Empty);
  rpc Chat(stream Empty) returns (stream Empty);
  rpc Reset(Empty) returns (Empty);
  rpc Unavailable(Empty) returns (Empty);
  rpc Hang(Empty) returns (Empty);
  rpc Leave(Empty) returns (Empty);
}
`;

/** The paths of the methods. */
export const METHOD = {
  /** Answers one message. */
  unary: "/load.Load/Unary",
  /** Sends back what comes. */
  chat: "/load.Load/Chat",
  /** Resets the stream behind the head of the answer. */
  reset: "/load.Load/Reset",
  /** Answers UNAVAILABLE. */
  unavailable: "/load.Load/Unavailable",
  /** Never answers. */
  hang: "/load.Load/Hang",
  /** Answers one message and says GOAWAY. */
  leave: "/load.Load/Leave",
} as const;

/** An empty message with its prefix. */
export const MESSAGE: Uint8Array = new Uint8Array(5);

const encoder = new Encoder();

function encode(status: boolean, fields: readonly (readonly [string, string])[]): Uint8Array {
  const out = new ByteWriter(new Uint8Array(128));
  if (status) encoder.status(out, 200);
  for (const [name, value] of fields) encoder.field(out, encodeName(name), value);
  return out.written;
}

const CONTENT_TYPE = ["content-type", "application/grpc"] as const;
const HEAD = encode(true, [CONTENT_TYPE]);
const OK = encode(false, [["grpc-status", "0"]]);
const UNAVAILABLE = encode(true, [CONTENT_TYPE, ["grpc-status", "14"]]);

/** A call as its server gets it. */
export interface ServedCall {
  /** The value of `:path`. */
  readonly path: string;
  /** Whether the request has no body. */
  readonly endStream: boolean;
  /** Says GOAWAY on the connection. */
  readonly drain: () => void;
}

/** Serves a call. */
export function serveCall(
  stream: H2Stream,
  { path, endStream, drain }: ServedCall,
): StreamListener {
  const ended = () => {
    if (stream.gone) return;
    switch (path) {
      case METHOD.chat:
        return stream.sendHeaders(OK, true);
      case METHOD.unary:
      case METHOD.leave:
        stream.sendHeaders(HEAD, false);
        stream.sendData(MESSAGE, 0, MESSAGE.length, false);
        stream.sendHeaders(OK, true);
        if (path === METHOD.leave) drain();
        return;
      case METHOD.reset:
        stream.sendHeaders(HEAD, false);
        return stream.reset(H2Code.InternalError);
      case METHOD.hang:
        return;
      default:
        return stream.sendHeaders(UNAVAILABLE, true);
    }
  };
  if (path === METHOD.chat) stream.sendHeaders(HEAD, false);
  // The engine knows the listener only when this has returned.
  if (endStream) queueMicrotask(ended);
  return {
    onHead() {},
    onData(bytes, start, end, endStream) {
      if (path === METHOD.chat && !stream.gone) {
        stream.sendData(bytes.slice(start, end), 0, end - start, false);
      }
      stream.consume(end - start);
      if (endStream) ended();
    },
    onTrailers: ended,
    onReset() {},
    onSent() {},
  };
}
