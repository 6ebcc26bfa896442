/**
 * One HTTP request over HTTP/2: its stream is a {@linkcode Duplex} that speaks HTTP/1.1, on which the one engine
 * for requests does what it does on a socket. So routing, retries, timeouts, errors, metrics and logs exist once,
 * and every request is judged by the rules of both versions.
 *
 * Both flow controls are joined: content of the client is granted again when the engine has taken it, and the
 * engine's writes wait for the window of the stream. What one stream holds is at most its window of 64 KiB
 * on the way in, {@linkcode TURN} on the way out, and the engine's buffers: 64 KiB a direction, and as much
 * again where a body is framed anew.
 *
 * @module
 */
import type { Duplex, PeerAddress } from "../../common/duplex.ts";
import { ProxyError } from "../../common/errors.ts";
import { BODY_END, ChunkedDecoder, encodeChunk } from "../h1/chunked.ts";
import { INCOMPLETE } from "../h1/fields.ts";
import type { HeadLimits } from "../h1/limits.ts";
import { ResponseHead } from "../h1/response.ts";
import { H2Code } from "../h2/errors.ts";
import type { FieldList } from "../h2/hpack/field_list.ts";
import type { H2RequestHead } from "../h2/request_head.ts";
import type { H2Stream, StreamListener, StreamReset } from "../h2/stream.ts";
import { HttpConnection } from "./connection.ts";
import type { HttpContext } from "./context.ts";
import type { Scratch } from "./downstream.ts";
import {
  encodeBodyEnd,
  encodeH1Request,
  encodeH2Response,
  encodeH2Trailers,
  isChunked,
} from "./h2_translate.ts";

/** Bytes of an answer that are given to a stream at a time; more wait in the engine. */
const TURN = 16 * 1024;
const NOTHING = new Uint8Array(0);

/** What serves the HTTP requests of the HTTP/2 connections of one listener. */
export class H2Http {
  /** What their engines share. */
  readonly context: HttpContext;
  /** What they parse into. */
  readonly scratch: Scratch;
  /** What the answers of the engines are parsed into; used synchronously only. */
  readonly response: ResponseHead;
  /** Limits of that: the engine adds to what a backend may send. */
  readonly limits: HeadLimits;

  /** @param makeScratch Makes what one listener parses into. */
  constructor(context: HttpContext, makeScratch: (context: HttpContext) => Scratch) {
    this.context = { ...context, carrier: "h2", closeAfterFirst: true };
    this.scratch = makeScratch(this.context);
    const { maxRequestLine, maxFieldLine, maxHead, maxFields } = context.limits;
    this.limits = {
      maxRequestLine,
      maxFieldLine: maxFieldLine + ADDED_BYTES,
      maxHead: maxHead + ADDED_BYTES,
      maxFields: maxFields + ADDED_FIELDS,
    };
    this.response = new ResponseHead(this.limits);
  }
}

/** How much routes may add to a response. */
const ADDED_BYTES = 64 * 1024;
const ADDED_FIELDS = 256;

/** A request as it came on a stream. */
export interface H2Request {
  /** The stream. */
  readonly stream: H2Stream;
  /** The head; valid during the call only. */
  readonly head: H2RequestHead;
  /** Whether there is no body. */
  readonly endStream: boolean;
  /** Whether the head must be answered with its error. */
  readonly refused: boolean;
  /** The connection that carries the stream. */
  readonly carrier: Duplex;
}

/** Bytes for the engine, and how many of them are content. */
interface Piece {
  readonly bytes: Uint8Array;
  readonly content: number;
}

interface PendingRead {
  readonly into: Uint8Array;
  resolve(count: number | null): void;
  reject(error: Error): void;
}

interface PendingWrite {
  readonly count: number;
  resolve(count: number): void;
  reject(error: Error): void;
}

/** What is expected next from the engine. */
type Answer =
  | { readonly type: "head" }
  | { readonly type: "length"; remaining: number }
  | { readonly type: "chunked"; readonly decoder: ChunkedDecoder }
  | { readonly type: "done" };

const HEAD: Answer = { type: "head" };
const DONE: Answer = { type: "done" };

/** One request and its response. */
export class H2Exchange implements Duplex, StreamListener {
  readonly remote: PeerAddress;
  readonly local: PeerAddress;
  /** Resolves when nothing is done for the request any more. Never rejects. */
  readonly finished: Promise<void>;
  readonly #http: H2Http;
  readonly #stream: H2Stream;
  readonly #connection: HttpConnection;
  readonly #noBody: boolean;
  readonly #chunked: boolean;
  #ended: boolean;
  /** The request, as far as the engine has not taken it. */
  readonly #pieces: Piece[] = [];
  /** How much of the first piece it has taken. */
  #offset = 0;
  #reading: PendingRead | undefined;
  #answer: Answer = HEAD;
  /** The beginning of a head whose rest has not been written yet. */
  #partial = NOTHING;
  #writing: PendingWrite | undefined;
  #unsent = 0;
  /** Whether the engine has ended its side. */
  #closed = false;
  /** Why nothing more can come or go. */
  #failure: Error | undefined;
  /** What the client is told of an answer that breaks off. */
  #code: H2Code = H2Code.InternalError;

  /** Takes a request over; what is needed of its head is used before this returns. */
  constructor(http: H2Http, { stream, head, endStream, refused, carrier }: H2Request) {
    this.#http = http;
    this.#stream = stream;
    this.remote = carrier.remote;
    this.local = carrier.local;
    this.#ended = endStream;
    this.#connection = new HttpConnection(this, http.context, http.scratch);
    if (refused) {
      this.#chunked = false;
      // A head that was too large has not been looked at.
      this.#noBody = head.error !== "head_too_large" && head.method === "HEAD";
      this.finished = this.#connection.refuse(head.error, head.detail);
      return;
    }
    this.#chunked = isChunked(head, endStream);
    this.#noBody = head.method === "HEAD";
    this.#pieces.push({ bytes: encodeH1Request(head, endStream), content: 0 });
    this.finished = this.#connection.serve();
  }

  // The client's side: what comes on the stream.

  onHead(): void {}

  onData(bytes: Uint8Array, start: number, end: number, endStream: boolean): void {
    const content = end - start;
    this.#ended = endStream;
    if (this.#closed) return this.#stream.consume(content);
    if (content > 0) {
      const data = this.#chunked ? encodeChunk(bytes, start, end) : bytes.slice(start, end);
      this.#pieces.push({ bytes: data, content });
    }
    if (endStream && this.#chunked) this.#pieces.push({ bytes: BODY_END, content: 0 });
    this.#feed();
  }

  onTrailers(fields: FieldList): void {
    this.#ended = true;
    // A body with a length has no place for trailers in HTTP/1.1; they may be dropped (RFC 9110, section 6.5.1).
    if (this.#closed || !this.#chunked) return;
    this.#pieces.push({ bytes: encodeBodyEnd(fields), content: 0 });
    this.#feed();
  }

  /** The client cancelled, or its connection was lost: whatever is under way for it ends. */
  onReset({ stalled, aborted, detail }: StreamReset): void {
    this.#fail(
      stalled
        ? new ProxyError("client_stalled", "downstream", detail)
        : new Deno.errors.ConnectionReset("the stream was reset"),
    );
    this.#connection.abort(aborted ? "shutdown" : stalled ? "client_stalled" : "client_closed");
  }

  onSent(count: number): void {
    this.#unsent -= count;
    const writing = this.#writing;
    if (this.#unsent > 0 || writing === undefined) return;
    this.#writing = undefined;
    writing.resolve(writing.count);
  }

  // The engine's side.

  /** Reads of the request. Behind its end a read stays pending, so that a cancellation is noticed. */
  read(into: Uint8Array): Promise<number | null> {
    if (this.#reading !== undefined) return Promise.reject(new TypeError("a read is pending"));
    return new Promise((resolve, reject) => {
      this.#reading = { into, resolve, reject };
      // Not at once: a request that is cancelled in the same turn must not reach a backend.
      queueMicrotask(() => this.#feed());
    });
  }

  #feed(): void {
    const reading = this.#reading;
    if (reading === undefined) return;
    if (this.#failure !== undefined) reading.reject(this.#failure);
    else if (this.#closed) reading.resolve(null);
    else if (this.#pieces.length > 0) reading.resolve(this.#take(reading.into));
    else return;
    this.#reading = undefined;
  }

  #take(into: Uint8Array): number {
    let at = 0;
    let consumed = 0;
    while (at < into.length && this.#pieces.length > 0) {
      const { bytes, content } = this.#pieces[0]!;
      const end = Math.min(bytes.length, this.#offset + into.length - at);
      into.set(bytes.subarray(this.#offset, end), at);
      at += end - this.#offset;
      this.#offset = end;
      if (end < bytes.length) break;
      this.#pieces.shift();
      this.#offset = 0;
      consumed += content;
    }
    this.#stream.consume(consumed);
    return at;
  }

  /**
   * Takes bytes of the answer and frames them. It takes no more than the stream sends at once and one turn, and
   * waits until that has gone.
   */
  write(bytes: Uint8Array): Promise<number> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#closed || this.#writing !== undefined) {
      return Promise.reject(
        new Deno.errors.BrokenPipe("the answer has ended, or a write is pending"),
      );
    }
    let at = 0;
    while (at < bytes.length && this.#unsent === 0) {
      const next = this.#translate(bytes, at, Math.min(bytes.length, at + TURN));
      if (next < 0) {
        const failure = new Deno.errors.InvalidData("the answer cannot be said in HTTP/2");
        this.#fail(failure);
        return Promise.reject(failure);
      }
      at = next;
    }
    if (this.#unsent === 0) return Promise.resolve(at);
    return new Promise((resolve, reject) => this.#writing = { count: at, resolve, reject });
  }

  /** Sends `bytes[at..end)`; the index behind what was used, or -1 when it makes no sense. */
  #translate(bytes: Uint8Array, at: number, end: number): number {
    const answer = this.#answer;
    switch (answer.type) {
      case "head":
        return this.#sendHead(bytes, at, end);
      case "length": {
        const stop = Math.min(end, at + answer.remaining);
        answer.remaining -= stop - at;
        this.#send(bytes, at, stop, answer.remaining === 0);
        return stop;
      }
      case "chunked":
        return this.#sendChunked(answer.decoder, bytes, at, end);
      case "done":
        // The engine says of an error what it would say to GET, also where a HEAD was refused.
        return end;
    }
  }

  #sendHead(bytes: Uint8Array, at: number, end: number): number {
    const { response } = this.#http;
    const known = this.#partial.length;
    let buffer = bytes;
    let start = at;
    let stop = end;
    if (known > 0) {
      buffer = new Uint8Array(known + end - at);
      buffer.set(this.#partial);
      buffer.set(bytes.subarray(at, end), known);
      start = 0;
      stop = buffer.length;
    }
    const next = response.parse(buffer, start, stop, this.#noBody);
    if (next === INCOMPLETE) {
      this.#partial = buffer.slice(start, stop);
      return end;
    }
    const { status, framing } = response;
    // RFC 9113, section 8.6: there is no 101; and nothing here ends with the connection.
    if (next < 0 || status === 101 || framing.type === "close") return -1;
    this.#partial = NOTHING;
    if (status >= 200) {
      this.#answer = framing.type === "none"
        ? DONE
        : framing.type === "chunked"
        ? { type: "chunked", decoder: new ChunkedDecoder() }
        : { type: "length", remaining: framing.length };
    }
    this.#stream.sendHeaders(encodeH2Response(response), this.#answer === DONE);
    return at + next - start - known;
  }

  #sendChunked(decoder: ChunkedDecoder, bytes: Uint8Array, at: number, end: number): number {
    // One piece is held back, so that the last one can carry the end.
    let start = at;
    let stop = at;
    let next = at;
    while (next < end && !decoder.done) {
      next = decoder.next(bytes, next, end);
      if (decoder.refused) return -1;
      if (decoder.dataEnd === decoder.dataStart) continue;
      if (stop > start) this.#send(bytes, start, stop, false);
      start = decoder.dataStart;
      stop = decoder.dataEnd;
    }
    const { trailers } = decoder;
    const bare = trailers.length === 0;
    const last = decoder.done && bare;
    if (stop > start || last) this.#send(bytes, start, stop, last);
    if (!decoder.done) return next;
    this.#answer = DONE;
    if (bare) return next;
    const block = encodeH2Trailers(trailers, this.#http.limits);
    if (block === undefined) return -1;
    this.#stream.sendHeaders(block, true);
    return next;
  }

  #send(bytes: Uint8Array, start: number, end: number, last: boolean): void {
    if (last) this.#answer = DONE;
    this.#unsent += end - start - this.#stream.sendData(bytes, start, end, last);
  }

  /** A client that opens no window for so long as a body may stall, and for what it has got, is given up. */
  isTaking(): boolean {
    const taking = this.#stream.isTaking(this.#http.context.timeouts.bodyStall);
    if (!taking) this.#code = H2Code.EnhanceYourCalm;
    return taking;
  }

  /** The engine has said all. */
  closeWrite(): Promise<void> {
    this.#end();
    return Promise.resolve();
  }

  /** The engine is done. */
  close(): void {
    if (this.#closed) return;
    this.#failure ??= new Deno.errors.Interrupted("the duplex was closed");
    this.#end();
  }

  /** An answer that is not complete is reset, never ended: the client must not take what it has for the whole. */
  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#answer !== DONE) this.#stream.reset(this.#code);
    // RFC 9113, section 8.1: a server that has answered in full may ask the client to stop sending.
    else if (!this.#ended) this.#stream.endEarly();
    this.#discard();
    this.#writing?.reject(new Deno.errors.Interrupted("the duplex was closed"));
    this.#writing = undefined;
    this.#feed();
  }

  /** Gives what nobody will read back to the windows. */
  #discard(): void {
    let content = 0;
    for (const piece of this.#pieces.splice(0)) content += piece.content;
    this.#stream.consume(content);
  }

  #fail(failure: Error): void {
    this.#failure ??= failure;
    this.#writing?.reject(failure);
    this.#writing = undefined;
    this.#feed();
  }
}
