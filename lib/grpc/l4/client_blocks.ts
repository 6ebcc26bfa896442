/**
 * Field blocks that the client of a tunnel sends (RFC 9113, section 8): requests begin with them, and find their
 * backend; trailers end requests.
 *
 * @module
 */
import type { LiveBackend } from "../../backend/backend.ts";
import { type ConnectionError, H2Code } from "../../http/h2/errors.ts";
import { checkTrailers } from "../../http/h2/headers.ts";
import { H2RequestHead } from "../../http/h2/request_head.ts";
import { NO_ROUTE } from "../../http/l7/plan.ts";
import { CallRecord } from "../l7/call_record.ts";
import type { GrpcContext } from "../l7/context.ts";
import { CallDeadline, readTimeout } from "../l7/deadline.ts";
import { BlockReader } from "./block_reader.ts";
import type { Verdict } from "./leg.ts";
import type { OwnStreams } from "./own_streams.ts";
import type { Tunnel } from "./tunnel.ts";
import { TunnelCall } from "./tunnel_call.ts";

/** Finds the backend of a tunnel. */
export interface Binder {
  /** The backend, while there is one. */
  readonly live: LiveBackend | undefined;
  /** Looks for one, unless that is being done: the calls of the tunnel wait for it. */
  bind(): void;
}

/** What judging a client takes. */
export interface ClientParts {
  /** The tunnel. */
  readonly tunnel: Tunnel;
  /** Its streams that are answered here. */
  readonly own: OwnStreams;
  /** What calls are recorded with. */
  readonly context: GrpcContext;
  /** The client's address. */
  readonly address: string;
  /** Finds the backend. */
  readonly binder: Binder;
}

/** Judges the client's field blocks. */
export class ClientBlocks {
  readonly #parts: ClientParts;
  readonly #tunnel: Tunnel;
  readonly #own: OwnStreams;
  readonly #head: H2RequestHead;
  readonly #reader: BlockReader;

  /** Begins without any. */
  constructor(parts: ClientParts) {
    this.#parts = parts;
    this.#tunnel = parts.tunnel;
    this.#own = parts.own;
    this.#head = new H2RequestHead(parts.tunnel.options.fields);
    this.#reader = new BlockReader(parts.tunnel.client, this.#head.fields);
  }

  /** See {@linkcode BlockReader.checkDependency}. */
  checkDependency(buffer: Uint8Array): ConnectionError | undefined {
    return this.#reader.checkDependency(buffer);
  }

  /** The HEADERS that the client's `frames` has. */
  onHeaders(buffer: Uint8Array): Verdict {
    const tunnel = this.#tunnel;
    const id = tunnel.client.frames.streamId;
    if (this.#tunnel.isIdle(id)) {
      // RFC 9113, section 5.1.1: streams of a client have odd identifiers.
      if ((id & 1) === 0) {
        tunnel.violates(H2Code.ProtocolError, `HEADERS on idle stream ${id}`);
        return "drop";
      }
    } else if (
      tunnel.calls.get(id) === undefined && tunnel.own.get(id) === undefined && !tunnel.wasReset(id)
    ) {
      tunnel.violates(H2Code.StreamClosed, `HEADERS on closed stream ${id}`);
      return "drop";
    }
    return this.onPart(buffer);
  }

  /** The same, or its CONTINUATION. */
  onPart(buffer: Uint8Array): Verdict {
    const tunnel = this.#tunnel;
    const part = this.#reader.add(buffer);
    switch (part.type) {
      case "more":
        return "more";
      case "abuse":
        tunnel.refuses(part.token);
        return "drop";
      case "error":
        tunnel.fail(part.error);
        return "drop";
      case "block":
        return this.#onBlock();
    }
  }

  #onBlock(): Verdict {
    const tunnel = this.#tunnel;
    const { streamId, endStream, tooLarge } = this.#reader;
    const call = tunnel.calls.get(streamId);
    if (call !== undefined) return this.#onTrailers(call);
    const stream = tunnel.own.get(streamId);
    if (stream !== undefined) {
      this.#own.onTrailers(stream, this.#head.fields, endStream && !tooLarge);
      return this.#skipBlock();
    }
    if (this.#tunnel.isIdle(streamId)) return this.#onRequest();
    return this.#skipBlock();
  }

  /** The backend does not see the block. */
  #skipBlock(): Verdict {
    this.#tunnel.client.blocks.skip(this.#head.fields);
    return "drop";
  }

  /** The backend sees the block, as it came or encoded anew. */
  #passBlock(): Verdict {
    const { client, backend, hold } = this.#tunnel;
    const { fields } = this.#head;
    const { blocks } = client;
    const { streamId, endStream } = this.#reader;
    if (blocks.passes(fields)) {
      if (backend === undefined && blocks.changesTable(fields)) hold.noteIndexing(streamId);
      return "pass";
    }
    blocks.encode(client.onward, fields, streamId, endStream);
    backend?.outlet.schedule();
    return "drop";
  }

  /** A request begins. */
  #onRequest(): Verdict {
    const tunnel = this.#tunnel;
    const head = this.#head;
    const { streamId, endStream, tooLarge } = this.#reader;
    tunnel.lastStream = streamId;
    tunnel.client.budget.countStream();
    // After our last GOAWAY, later streams are ignored (section 6.8).
    if (tunnel.saidLast) {
      tunnel.ignore(streamId);
      return this.#skipBlock();
    }
    if (tunnel.streams >= tunnel.options.maxConcurrentStreams) {
      tunnel.onExcess();
      tunnel.refuseStream(streamId, H2Code.RefusedStream);
      return this.#skipBlock();
    }
    let refused = tooLarge;
    if (refused) head.refuseTooLarge();
    else {
      const verdict = head.interpret(endStream);
      if (verdict === "malformed") {
        tunnel.refuseStream(streamId, H2Code.ProtocolError);
        return this.#skipBlock();
      }
      refused = verdict === "refused";
    }
    if (refused || this.#parts.context.services?.claims(head.path)) {
      this.#own.open(streamId, head, { endStream, refused });
      return this.#skipBlock();
    }
    if (tunnel.abandoned) {
      // The client is told to connect anew; nothing has been done for this stream (section 8.7).
      tunnel.resetClient(streamId, H2Code.RefusedStream);
      return this.#skipBlock();
    }
    return this.#proxy();
  }

  #begin(): TunnelCall {
    const { context, address } = this.#parts;
    const tunnel = this.#tunnel;
    const { streamId, endStream } = this.#reader;
    const record = new CallRecord(context, this.#head, address);
    const call = new TunnelCall(
      streamId,
      record,
      tunnel.windows.streamToClient,
      tunnel.windows.streamToBackend,
    );
    call.clientEnded = endStream;
    call.clientExpected = this.#head.contentLength;
    tunnel.calls.add(call);
    return call;
  }

  /** The request goes to the backend, or waits for it. */
  #proxy(): Verdict {
    const { context, binder } = this.#parts;
    const tunnel = this.#tunnel;
    const { streamId } = this.#reader;
    const { backend } = tunnel;
    if (
      backend !== undefined &&
      (streamId > tunnel.lastOfBackend || tunnel.calls.size >= backend.peer.maxConcurrentStreams)
    ) {
      // Nothing has been done for it (section 8.7). That it is too many the client may not know yet.
      if (tunnel.client.unacknowledged.length > 0 || streamId > tunnel.lastOfBackend) {
        tunnel.resetClient(streamId, H2Code.RefusedStream);
      } else tunnel.refuseStream(streamId, H2Code.RefusedStream);
      return this.#skipBlock();
    }
    const call = this.#begin();
    if (backend !== undefined) {
      call.record.attempt(NO_ROUTE, binder.live!);
      backend.budget.countStream();
    }
    if (call.record.grpc) {
      const field = readTimeout(this.#head.fields);
      if (field.type !== "none") {
        const code = field.type === "malformed" ? "bad_timeout" : "deadline_exceeded";
        if (field.type === "malformed" || field.ms === 0) {
          tunnel.endCall(call, code);
          return this.#skipBlock();
        }
        call.timer = new CallDeadline(context.clock, {
          started: call.record.started,
          timeout: field.ms,
          onExpired: () => {
            tunnel.resetBackend(streamId, H2Code.Cancel);
            tunnel.endCall(call, "deadline_exceeded");
          },
        });
      }
    }
    if (backend === undefined) binder.bind();
    return this.#passBlock();
  }

  /** Trailers of a request, or what cannot be any. */
  #onTrailers(call: TunnelCall): Verdict {
    const tunnel = this.#tunnel;
    const { endStream, tooLarge } = this.#reader;
    if (call.clientEnded) {
      tunnel.refuseCall(call, H2Code.StreamClosed, true);
      return this.#skipBlock();
    }
    // RFC 9113, section 8.1: a second HEADERS that does not end the stream is malformed.
    if (
      !endStream || tooLarge || call.clientExpected > 0 ||
      checkTrailers(this.#head.fields) !== undefined
    ) {
      tunnel.refuseCall(call, H2Code.ProtocolError, true);
      return this.#skipBlock();
    }
    call.clientEnded = true;
    return this.#passBlock();
  }
}
