/**
 * What a call hears of its client. Streams of both sides have the same kind of listener, and the call itself
 * is that of the backend's.
 *
 * @module
 */
import type { FieldList } from "../../http/h2/hpack/field_list.ts";
import type { StreamListener, StreamReset } from "../../http/h2/stream.ts";

/** What is told of the client's stream; see {@linkcode StreamListener}. */
export interface ClientEvents {
  /** Content of the request came. */
  onRequestData(bytes: Uint8Array, start: number, end: number, endStream: boolean): void;
  /** Trailers of the request came. */
  onRequestTrailers(fields: FieldList): void;
  /** The client cancelled, or its connection was lost. */
  onClientReset(reset: StreamReset): void;
  /** Bytes of the response have been framed for the client. */
  onResponseSent(count: number): void;
}

/** Listens to the client's stream of a call. */
export class ClientSide implements StreamListener {
  readonly #call: ClientEvents;

  /** Listens for `call`. */
  constructor(call: ClientEvents) {
    this.#call = call;
  }

  onHead(): void {
    // A client sends one head, and with that the call began.
  }

  onData(bytes: Uint8Array, start: number, end: number, endStream: boolean): void {
    this.#call.onRequestData(bytes, start, end, endStream);
  }

  onTrailers(fields: FieldList): void {
    this.#call.onRequestTrailers(fields);
  }

  onReset(reset: StreamReset): void {
    this.#call.onClientReset(reset);
  }

  onSent(count: number): void {
    this.#call.onResponseSent(count);
  }
}
