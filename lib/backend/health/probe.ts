/**
 * How a backend is asked whether it is well: once, or on a stream on which it says so itself.
 *
 * @module
 */
import type { LiveBackend } from "../backend.ts";

/**
 * Makes one check.
 *
 * @throws {Error} When the backend is not well; the message says why. A {@linkcode ProxyError} whose side is internal
 * says nothing of the backend.
 */
export type Probe = (backend: LiveBackend, options: ProbeOptions) => Promise<void>;

/** How a {@linkcode Probe} is made. */
export interface ProbeOptions {
  /** Milliseconds until it must have ended. */
  readonly timeout: number;
  /** Aborted when nobody wants to know any more, or the time is over. */
  readonly signal: AbortSignal;
}

/** Opens a stream of health and listens to its end. Never rejects. */
export type Watch = (backend: LiveBackend, options: WatchOptions) => Promise<WatchEnd>;

/** How a {@linkcode Watch} listens. */
export interface WatchOptions {
  /** Milliseconds in which the first word must have come, and the answer to each check beside the stream. */
  readonly timeout: number;
  /** Milliseconds of silence after which a check is made beside the stream; asked anew for each. */
  readonly silence: () => number;
  /** Aborted when nobody wants to know any more. */
  readonly signal: AbortSignal;
  /** The backend says how it is: `undefined` for well, else why not. Must not throw. */
  readonly onStatus: (reason: string | undefined) => void;
  /** The same as the answer to a check beside the silent stream. Must not throw. */
  readonly onCheck: (reason: string | undefined) => void;
}

/**
 * How a stream of health has ended.
 *
 * - `left`: in order, the backend being as it has said last; a new stream can be opened at once.
 * - `broken`: the backend is gone, or does not do what it should.
 * - `unimplemented`: the backend has no such streams.
 * - `prevented`: this host had no means to open it; nothing is known of the backend.
 */
export type WatchEnd =
  | { readonly type: "left" }
  | { readonly type: "broken"; readonly reason: string }
  | { readonly type: "unimplemented" }
  | { readonly type: "prevented" };
