/**
 * Field blocks as they come: put together from HEADERS and CONTINUATION, decoded, and given to the stream
 * that they belong to (RFC 9113, sections 4.3, 6.2 and 8.1).
 *
 * @module
 */
import type { Closing } from "./closing.ts";
import { connectionError, H2Code } from "./errors.ts";
import type { FrameReader } from "./frame_reader.ts";
import { Flag, readUint31 } from "./frames.ts";
import { checkTrailers } from "./headers.ts";
import { Decoder } from "./hpack/decoder.ts";
import { FieldList } from "./hpack/field_list.ts";
import type { Link } from "./link.ts";
import { H2RequestHead } from "./request_head.ts";
import { H2ResponseHead } from "./response_head.ts";
import type { H2Stream } from "./stream.ts";
import type { Streams } from "./streams.ts";

/** Bytes of the deprecated priority fields (RFC 9113, section 6.3). */
const PRIORITY_SIZE = 5;

/** What receives frames of one connection. */
export interface ReceiverParts {
  /** What the parts of the connection share. */
  readonly link: Link;
  /** Its streams. */
  readonly streams: Streams;
  /** Its end. */
  readonly closing: Closing;
}

/** Puts field blocks together and hands them on; one at a time, as the protocol wants it. */
export class FieldReceiver {
  readonly #link: Link;
  readonly #streams: Streams;
  readonly #closing: Closing;
  readonly #decoder = new Decoder();
  readonly #request: H2RequestHead | undefined;
  readonly #response: H2ResponseHead | undefined;
  /** What heads are read into. */
  readonly #heads: FieldList;
  /**
   * What trailers are read into. A backend sends heads and trailers in turns, each the same again and again: in a list of
   * their own neither is decoded anew. Requests hardly ever have trailers, and clients are many.
   */
  readonly #trailers: FieldList;
  /** Either of them, for the block that is being read. */
  #fields: FieldList;
  /** The stream whose field block is being read, and whether it ends with it. */
  #stream = 0;
  #ends = false;
  #tooLarge = false;

  /** A server reads requests, a client responses. */
  constructor({ link, streams, closing }: ReceiverParts) {
    this.#link = link;
    this.#streams = streams;
    this.#closing = closing;
    const { fields } = link.options;
    if (link.role === "server") {
      this.#request = new H2RequestHead(fields);
      this.#heads = this.#trailers = this.#request.fields;
    } else {
      this.#response = new H2ResponseHead(fields);
      this.#heads = this.#response.fields;
      this.#trailers = new FieldList(fields);
    }
    this.#fields = this.#heads;
  }

  /** Takes a HEADERS frame. */
  onHeaders(frames: FrameReader, buffer: Uint8Array): void {
    const link = this.#link;
    const streams = this.#streams;
    const id = frames.streamId;
    // Padding is no content: a frame that is all padding is an empty one.
    const content = frames.end - frames.start;
    if (link.refuses(link.budget.countHeaders(content, frames.endStream))) return;
    if (
      (frames.flags & Flag.Priority) !== 0 &&
      !this.#checkDependency(id, buffer, frames.start - PRIORITY_SIZE)
    ) return;
    const stream = streams.get(id);
    if (streams.isIdle(id)) {
      // RFC 9113, section 5.1.1: streams of a client have odd identifiers.
      if (link.role === "client" || (id & 1) === 0) {
        link.fail(connectionError(H2Code.ProtocolError, `HEADERS on idle stream ${id}`));
        return;
      }
    } else if (stream === undefined && !streams.wasReset(id)) {
      link.fail(connectionError(H2Code.StreamClosed, `HEADERS on closed stream ${id}`));
      return;
    }
    this.#stream = id;
    this.#ends = frames.endStream;
    this.#tooLarge = false;
    this.#fields = stream !== undefined && stream.headed ? this.#trailers : this.#heads;
    this.#fields.reset();
    this.#append(frames, buffer);
  }

  /** Takes a CONTINUATION frame. */
  onContinuation(frames: FrameReader, buffer: Uint8Array): void {
    const link = this.#link;
    if (link.refuses(link.budget.countContinuation(frames.length))) return;
    this.#append(frames, buffer);
  }

  /** Takes a PRIORITY frame, which is only judged. */
  onPriority(frames: FrameReader, buffer: Uint8Array): void {
    const link = this.#link;
    if (link.refuses(link.budget.countPriority())) return;
    this.#checkDependency(frames.streamId, buffer, frames.start);
  }

  /**
   * RFC 7540, section 5.3.1: a stream that depends on itself is an error. RFC 9113 has no dependencies any
   * more; whoever still sends them and cannot even do that is not answered with resets at will.
   */
  #checkDependency(id: number, buffer: Uint8Array, at: number): boolean {
    if (readUint31(buffer, at) !== id) return true;
    this.#link.fail(connectionError(H2Code.ProtocolError, `stream ${id} depends on itself`));
    return false;
  }

  #append(frames: FrameReader, buffer: Uint8Array): void {
    const link = this.#link;
    const fields = this.#fields;
    if (!fields.append(buffer, frames.start, frames.end)) {
      // The block cannot be decoded in part, and without it the compression state is lost.
      link.refuses("field_block_flood");
      return;
    }
    if (!frames.endHeaders) return;
    const verdict = this.#decoder.decode(fields);
    if (verdict === "compression") {
      link.fail(connectionError(H2Code.CompressionError, "a field block is invalid"));
      return;
    }
    if (verdict === "excessive") {
      link.refuses("field_block_flood");
      return;
    }
    this.#tooLarge = verdict === "too_large";
    const streams = this.#streams;
    const stream = streams.get(this.#stream);
    if (stream === undefined) {
      if (streams.isIdle(this.#stream)) this.#onRequest(this.#stream);
      return;
    }
    if (this.#response !== undefined && !stream.headed && !stream.remoteEnded) {
      this.#onResponse(stream, this.#response);
    } else this.#onTrailers(stream);
    if (stream.localEnded && stream.remoteEnded && !stream.gone) streams.settle(stream);
  }

  /** A request begins. */
  #onRequest(id: number): void {
    const link = this.#link;
    const streams = this.#streams;
    streams.begin(id);
    // After our last GOAWAY, later streams are ignored; their blocks have been decoded (section 6.8).
    if (this.#closing.saidLast) return streams.ignore(id);
    const stream = streams.accept(id);
    if (streams.size > link.options.maxConcurrentStreams) {
      link.handler.onExcess?.();
      return streams.refuse(stream, H2Code.RefusedStream);
    }
    const head = this.#request!;
    const endStream = this.#ends;
    stream.remoteEnded = endStream;
    stream.headed = true;
    let refused = this.#tooLarge;
    if (refused) head.refuseTooLarge();
    else {
      const verdict = head.interpret(endStream);
      if (verdict === "malformed") return streams.refuse(stream, H2Code.ProtocolError);
      refused = verdict === "refused";
    }
    stream.expected = refused ? -1 : head.contentLength;
    stream.listener = link.handler.onRequest!(stream, head, { endStream, refused });
  }

  /** A response head came, perhaps an interim one. */
  #onResponse(stream: H2Stream, head: H2ResponseHead): void {
    if (this.#tooLarge) return this.#decline(stream);
    const endStream = this.#ends;
    if (head.interpret(endStream, stream.noBody) === "malformed") {
      return this.#streams.refuse(stream, H2Code.ProtocolError);
    }
    if (!head.interim) {
      stream.headed = true;
      stream.expected = stream.noBody ? -1 : head.contentLength;
    }
    stream.remoteEnded = endStream;
    stream.listener?.onHead(head, endStream);
  }

  /** Trailers came, or what cannot be any. */
  #onTrailers(stream: H2Stream): void {
    if (stream.remoteEnded) return this.#streams.refuse(stream, H2Code.StreamClosed);
    if (this.#tooLarge) return this.#decline(stream);
    const fields = this.#fields;
    // RFC 9113, section 8.1: a second HEADERS that does not end the stream is malformed.
    if (!this.#ends || stream.expected > 0 || checkTrailers(fields) !== undefined) {
      return this.#streams.refuse(stream, H2Code.ProtocolError);
    }
    stream.remoteEnded = true;
    stream.listener?.onTrailers(fields);
  }

  /**
   * More came than is taken, which is no error of the protocol. Both sides of a gRPC call make
   * RESOURCE_EXHAUSTED of the code (grpc/doc/PROTOCOL-HTTP2.md, "Errors").
   */
  #decline(stream: H2Stream): void {
    const detail = "the header fields are too large or too many";
    const { role } = this.#link;
    if (role === "server") this.#streams.refuse(stream, H2Code.EnhanceYourCalm, detail);
    else this.#streams.decline(stream, H2Code.EnhanceYourCalm, detail);
  }
}
