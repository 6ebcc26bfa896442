/**
 * The flow-control windows of a tunnel (RFC 9113, section 6.9): those of its two connections, and those that streams
 * begin with. What one side grants the other gets, less what answers of our own have taken.
 *
 * @module
 */
import { encodeWindowUpdate } from "../../http/h2/frame_writer.ts";
import { MAX_UINT31 } from "../../http/h2/frames.ts";
import type { H2Stream } from "../../http/h2/stream.ts";
import type { StreamTable } from "../../http/h2/stream_table.ts";
import { INITIAL_WINDOW, type Leg } from "./leg.ts";
import type { TunnelCall } from "./tunnel_call.ts";

/** Bytes that are given back to a window at once. */
export const GRANT_STEP = 16 * 1024;

/** Whose windows they are. */
export interface Windowed {
  /** The client's side. */
  readonly client: Leg;
  /** The backend's side, while there is one. */
  readonly backend: Leg | undefined;
  /** Calls that both sides know. */
  readonly calls: StreamTable<TunnelCall>;
  /** Streams of the client that are answered here. */
  readonly own: StreamTable<H2Stream>;
}

/**
 * What becomes of a WINDOW_UPDATE for the client's connection.
 *
 * - `pass`: it goes on as it came.
 * - `drop`: what takes its place, if anything does, has been framed.
 * - `overflow`: the window would be larger than any may be.
 */
export type Opening = "pass" | "drop" | "overflow";

/** The windows of one tunnel. */
export class TunnelWindows {
  /** Bytes that the client lets us send on its connection. */
  client = INITIAL_WINDOW;
  /** Bytes that the backend may still send, as far as it knows. Less than that of the client is a debt. */
  backendCredit = INITIAL_WINDOW;
  /** Bytes that the client may still send on its connection. */
  clientCredit = INITIAL_WINDOW;
  /** Bytes that the backend lets us send on its connection. */
  backend = INITIAL_WINDOW;
  /** The windows that streams begin with, as long as the one who must keep to them may not know better. */
  streamToClient = INITIAL_WINDOW;
  streamToBackend = INITIAL_WINDOW;

  readonly #tunnel: Windowed;
  /** Bytes of the client that were for nobody else and are not given back yet. */
  #kept = 0;
  #room: PromiseWithResolvers<void> | undefined;

  /** Begins as connections do. */
  constructor(tunnel: Windowed) {
    this.#tunnel = tunnel;
  }

  /** There is a backend, whose connection lets us send what is `held` for it, and no more is used of it. */
  onBackend(held: number): void {
    this.backendCredit = INITIAL_WINDOW;
    this.backend = INITIAL_WINDOW - held;
  }

  /** Gives bytes to the client's connection. */
  #grant(count: number): void {
    const { outlet } = this.#tunnel.client;
    encodeWindowUpdate(outlet.writer, 0, count);
    outlet.schedule();
    this.clientCredit += count;
  }

  /** Bytes of the client were not for the backend: they are given back in steps. */
  giveBack(count: number): void {
    this.#kept += count;
    if (this.#kept < GRANT_STEP) return;
    this.#grant(this.#kept);
    this.#kept = 0;
  }

  /** Gives back to the client what the backend, which is gone, has got and not given back. */
  reclaim(): void {
    const missing = INITIAL_WINDOW - this.clientCredit - this.#kept;
    if (missing > 0) this.#grant(missing);
  }

  /** The client lets us send more on its connection. */
  openClient(increment: number): Opening {
    this.client += increment;
    if (this.client > MAX_UINT31) return "overflow";
    this.letGo();
    if (this.#tunnel.backend === undefined) return "drop";
    if (this.client - this.backendCredit !== increment) {
      this.creditBackend(1);
      return "drop";
    }
    this.backendCredit += increment;
    return "pass";
  }

  /** Lets the backend send what the client would take, if that is at least `step` bytes more. */
  creditBackend(step: number): void {
    const due = this.client - this.backendCredit;
    if (due < step) return;
    const { client, backend } = this.#tunnel;
    encodeWindowUpdate(client.onward, 0, due);
    backend!.outlet.schedule();
    this.backendCredit += due;
  }

  /** Resolves when the client lets us send more, or the end has come. */
  get roomForClient(): Promise<void> {
    return (this.#room ??= Promise.withResolvers()).promise;
  }

  /** Who waits for room looks again. */
  letGo(): void {
    this.#room?.resolve();
    this.#room = undefined;
  }

  /**
   * Shifts the windows of streams because one side has changed what they begin with; `false` when one is too large
   * then (section 6.9.2).
   */
  shift(side: "toClient" | "toBackend", delta: number): boolean {
    if (delta === 0) return true;
    let fits = true;
    if (side === "toClient") this.streamToClient += delta;
    else this.streamToBackend += delta;
    for (const call of this.#tunnel.calls.list()) {
      call[side] += delta;
      if (call[side] > MAX_UINT31) fits = false;
    }
    for (const stream of this.#tunnel.own.list()) {
      if (side === "toBackend") stream.receiveWindow += delta;
    }
    return fits;
  }
}
