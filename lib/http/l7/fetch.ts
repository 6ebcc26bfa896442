/**
 * The layer 7 balancer as a handler for `Deno.serve`.
 *
 * The handler speaks HTTP/1.1 with a connection of the engine over memory, so that routing, retries,
 * timeouts, errors, metrics and logs are the same as on a listener, and backpressure reaches from the
 * stream of the response to the backend.
 *
 * @module
 */
import { bodyBuffers } from "../../common/buffer_pool.ts";
import { ByteReader } from "../../common/byte_reader.ts";
import { type Duplex, type PeerAddress, writeAll } from "../../common/duplex.ts";
import { makeMemoryPair } from "../../common/memory_duplex.ts";
import { problemBody } from "../problem.ts";
import { latin1 } from "../h1/chars.ts";
import { BODY_END, encodeChunk } from "../h1/chunked.ts";
import { INCOMPLETE, Known, REFUSED } from "../h1/fields.ts";
import { ResponseHead } from "../h1/response.ts";
import { ByteWriter } from "../h1/writer.ts";
import { BodyTransfer } from "./body_transfer.ts";
import { HttpConnection } from "./connection.ts";
import type { HttpContext } from "./context.ts";
import type { Scratch } from "./downstream.ts";

/** A handler for `Deno.serve`. */
export type FetchHandler = (request: Request, info?: Deno.ServeHandlerInfo) => Promise<Response>;

/** Fields of a request that the handler writes itself. */
const OWN_FIELDS = new Set([
  "connection",
  "content-length",
  "host",
  "transfer-encoding",
  "upgrade",
]);
/** Known fields of a response that end at the engine's connection. */
const HOP_FIELDS = new Set<number>([Known.Connection, Known.TransferEncoding, Known.KeepAlive]);
/** Statuses whose response must have no body (Fetch, section "null body status"). */
const NULL_BODY = new Set([101, 204, 205, 304]);

/** Makes the handler. `scratch` makes what one engine parses into. */
export function makeFetchHandler(
  context: HttpContext,
  makeScratch: (context: HttpContext) => Scratch,
): FetchHandler {
  const own: HttpContext = { ...context, closeAfterFirst: true };
  const scratch = makeScratch(own);
  return async (request, info) => {
    if (request.headers.has("upgrade")) return upgradeRefused();
    const [client, server] = makeMemoryPair(peer(info?.remoteAddr));
    const scheme = request.url.startsWith("https:") ? "https" : "http";
    const connection = new HttpConnection(server, own, scratch, scheme);
    void connection.serve();
    const { signal } = request;
    const exchange: Calling = {
      from: client,
      signal,
      abort: () => connection.abort(),
      end() {
        signal.removeEventListener("abort", exchange.abort);
        client.close();
      },
    };
    signal.addEventListener("abort", exchange.abort);
    // What fails here is a request body that broke off; the engine sees it and says so.
    void send(request, client).catch(exchange.abort);
    try {
      return await receive(exchange, request.method === "HEAD", own);
    } catch (error) {
      exchange.end();
      throw error;
    }
  };
}

/** A call of the engine that is under way. */
interface Calling {
  /** Our end of the memory between the caller and the engine. */
  readonly from: Duplex;
  /** Ends it when the caller's client has gone. */
  readonly signal: AbortSignal;
  /** Tells the engine that its client has gone, so that the backend is not kept busy for nobody. */
  abort(): void;
  /** Frees what it holds, once the answer has been read. */
  end(): void;
}

function peer(address: Deno.Addr | undefined): PeerAddress {
  return address?.transport === "tcp"
    ? { hostname: address.hostname, port: address.port }
    : { hostname: address?.transport === "unix" ? "unix" : "memory", port: 0 };
}

/** A server of `Deno.serve` gives no raw connection, so there is nothing to tunnel through. */
function upgradeRefused(): Response {
  return new Response(problemBody("upgrade_unsupported"), {
    status: 501,
    headers: { "content-type": "application/problem+json" },
  });
}

async function send(request: Request, to: Duplex): Promise<void> {
  const { host, pathname, search } = new URL(request.url);
  let head = `${request.method} ${pathname}${search} HTTP/1.1\r\nHost: ${
    request.headers.get("host") ?? host
  }\r\n`;
  for (const [name, value] of request.headers) {
    if (!OWN_FIELDS.has(name)) head += `${name}: ${value}\r\n`;
  }
  const length = request.headers.get("content-length");
  const { body } = request;
  if (length !== null) head += `Content-Length: ${length}\r\n`;
  else if (body !== null) head += "Transfer-Encoding: chunked\r\n";
  await writeAll(to, latin1(head + "\r\n"));
  if (body === null) return;
  for await (const chunk of body) {
    if (length !== null) await writeAll(to, chunk);
    else if (chunk.length > 0) await writeAll(to, encodeChunk(chunk));
  }
  if (length === null) await writeAll(to, BODY_END);
}

async function receive(
  exchange: Calling,
  noBody: boolean,
  context: HttpContext,
): Promise<Response> {
  const reader = new ByteReader(exchange.from, bodyBuffers.size);
  const head = new ResponseHead(context.limits);
  for (;;) {
    const end = head.parse(reader.buffer, reader.start, reader.end, noBody);
    if (end === REFUSED) throw new TypeError(`the engine's answer is malformed: ${head.detail}`);
    if (end === INCOMPLETE) {
      // The engine ends without an answer only when the client has gone.
      if (!await reader.fill()) throw new DOMException("the request was aborted", "AbortError");
      continue;
    }
    reader.start = end;
    if (head.status >= 200) break;
  }
  const headers = new Headers();
  for (let i = 0; i < head.fields.count; i++) {
    if (HOP_FIELDS.has(head.fields.known[i]!)) continue;
    headers.append(head.fields.name(i), head.fields.value(i));
  }
  const { status } = head;
  const transfer = new BodyTransfer(reader, head.framing, false);
  if (transfer.done) {
    exchange.end();
    return new Response(noBody || NULL_BODY.has(status) ? null : "", { status, headers });
  }
  return new Response(makeStream(exchange, reader, transfer), { status, headers });
}

/** The body as a stream that reads from the engine only when it is read from. */
function makeStream(
  exchange: Calling,
  reader: ByteReader,
  transfer: BodyTransfer,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      for (;;) {
        const out = new ByteWriter(new Uint8Array(Math.max(reader.available, 1)));
        transfer.copyTo(out);
        if (out.at > 0) controller.enqueue(out.written as Uint8Array<ArrayBuffer>);
        if (transfer.done) {
          exchange.end();
          controller.close();
          return;
        }
        if (out.at > 0) return;
        if (transfer.malformed !== undefined || !await reader.fill()) {
          exchange.end();
          exchange.signal.throwIfAborted();
          throw new TypeError("the backend ended inside the response");
        }
      }
    },
    cancel() {
      exchange.abort();
      exchange.end();
    },
  }, { highWaterMark: 0 });
}
