/**
 * A gRPC backend on our own HTTP/2 engine, with as much reflection as a test wants.
 *
 * @module
 */
import { Clock } from "../../lib/common/clock.ts";
import { ConnDuplex } from "../../lib/common/duplex.ts";
import { encodeTrailersOnly } from "../../lib/grpc/respond.ts";
import { REFLECTION_PROTO } from "../../lib/grpc/protos.ts";
import { LocalSource } from "../../lib/grpc/reflection/local_source.ts";
import { parseRequest, responseOf } from "../../lib/grpc/reflection/messages.ts";
import { loadProto } from "../../lib/grpc/services/definitions.ts";
import { GrpcStatus } from "../../lib/grpc/status.ts";
import { ByteWriter } from "../../lib/http/h1/writer.ts";
import { H2Connection } from "../../lib/http/h2/connection.ts";
import { encodeName, Encoder } from "../../lib/http/h2/hpack/encoder.ts";
import type { H2Stream, StreamListener } from "../../lib/http/h2/stream.ts";
import { concat } from "./net.ts";

/** A file of definitions, and what a backend says of it. */
export interface BackendOptions {
  /** Its definitions; they import nothing. */
  readonly protos?: readonly { readonly name: string; readonly text: string }[];
  /** The services that it lists. */
  readonly services?: readonly string[];
  /** Which reflection it speaks; `silent` never answers. Default `v1`. */
  readonly reflection?: "v1" | "v1alpha" | "none" | "silent";
  /** Where it listens; unless given, the system chooses. */
  readonly port?: number;
  /** Calls of other methods are answered with what they sent; until this has resolved if it is given. */
  readonly until?: Promise<void>;
}

/** A backend. */
export interface GrpcBackend extends AsyncDisposable {
  /** `127.0.0.1:port` */
  readonly addr: string;
  /** The paths of all calls, in order. */
  readonly calls: readonly string[];
}

const encoder = new Encoder();
const CONTENT_TYPE = encodeName("content-type");
const STATUS = encodeName("grpc-status");
const reflection = loadProto(REFLECTION_PROTO);
const Request = reflection.root.lookupType("grpc.reflection.v1.ServerReflectionRequest");
const Response = reflection.root.lookupType("grpc.reflection.v1.ServerReflectionResponse");

function block(write: (out: ByteWriter) => void): Uint8Array {
  const out = new ByteWriter(new Uint8Array(128));
  write(out);
  return out.written;
}

const PREFIX = 5;

function frame(message: Uint8Array): Uint8Array {
  const head = new Uint8Array(PREFIX);
  new DataView(head.buffer).setUint32(1, message.length);
  return concat(head, message);
}

/** How long the first message is with its prefix; more than there is when the prefix is not there in full. */
function sizeOf(bytes: Uint8Array): number {
  return bytes.length < PREFIX
    ? PREFIX
    : PREFIX + new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
}

const IGNORE: StreamListener = {
  onHead() {},
  onData() {},
  onTrailers() {},
  onReset() {},
  onSent() {},
};

const HEAD = block((out) => {
  encoder.status(out, 200);
  encoder.field(out, CONTENT_TYPE, "application/grpc");
});
const TRAILERS = block((out) => encoder.field(out, STATUS, "0"));

/** Starts a backend. */
export function serveGrpc(options: BackendOptions = {}): GrpcBackend {
  const { protos = [], services = [], reflection: speaks = "v1" } = options;
  const clock = new Clock();
  const calls: string[] = [];
  const source = new LocalSource(services, protos.map((proto) => loadProto(proto).descriptor));

  const answer = async (path: string, message: Uint8Array): Promise<Uint8Array> => {
    if (!path.startsWith("/grpc.reflection.")) {
      await options.until;
      return message;
    }
    const request = Request.toObject(Request.decode(message));
    const response = responseOf(request, await source.ask(parseRequest(request)!));
    return Response.encode(Response.fromObject(response)).finish();
  };

  /** Answers each message as it comes. */
  const serve = (stream: H2Stream, path: string): StreamListener => {
    const version = /^\/grpc\.reflection\.(v1|v1alpha)\./.exec(path)?.[1];
    if (version !== undefined && speaks === "silent") return IGNORE;
    if (version !== undefined && speaks !== version) {
      stream.sendHeaders(encodeTrailersOnly(GrpcStatus.Unimplemented, "unknown service"), true);
      return IGNORE;
    }
    stream.sendHeaders(HEAD, false);
    let pending: Uint8Array = new Uint8Array(0);
    let working = Promise.resolve();
    return {
      ...IGNORE,
      onData(bytes, start, end, endStream) {
        pending = concat(pending, bytes.slice(start, end));
        stream.consume(end - start);
        for (let size; (size = sizeOf(pending)) <= pending.length;) {
          const message = pending.slice(PREFIX, size);
          pending = pending.slice(size);
          working = working.then(async () => {
            const framed = frame(await answer(path, message));
            stream.sendData(framed, 0, framed.length, false);
          });
        }
        if (endStream) void working.then(() => stream.sendHeaders(TRAILERS, true));
      },
    };
  };

  const listener = Deno.listen({ hostname: "127.0.0.1", port: options.port ?? 0 });
  const connections = new Set<H2Connection>();
  const running: Promise<void>[] = [];
  const accept = async () => {
    for await (const conn of listener) {
      const connection = new H2Connection({
        role: "server",
        duplex: new ConnDuplex(conn),
        clock,
        handler: {
          onRequest(stream, head) {
            calls.push(head.path);
            return serve(stream, head.path);
          },
        },
      });
      connections.add(connection);
      running.push(connection.run().finally(() => connections.delete(connection)));
    }
  };
  const accepting = accept();
  return {
    addr: `127.0.0.1:${(listener.addr as Deno.NetAddr).port}`,
    calls,
    async [Symbol.asyncDispose]() {
      listener.close();
      await accepting;
      for (const connection of connections) connection.abort();
      await Promise.all(running);
    },
  };
}
