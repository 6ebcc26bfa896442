/**
 * Takes messages out of the content of an answer as it comes (PROTOCOL-HTTP2.md, Length-Prefixed-Message).
 *
 * @module
 */
import { PREFIX } from "./client.ts";

/** Holds what has come of a message that is not there in full. */
export class MessageReader {
  readonly #maxSize: number;
  #pending: Uint8Array = new Uint8Array(0);

  /** @param maxSize The longest message that is taken, in bytes. */
  constructor(maxSize: number) {
    this.#maxSize = maxSize;
  }

  /**
   * Takes `bytes[start..end)`, which are copied.
   *
   * @returns The messages that are now there in full; `undefined` when one is compressed, which nobody has allowed,
   * or too long.
   */
  take(bytes: Uint8Array, start: number, end: number): Uint8Array[] | undefined {
    const all = new Uint8Array(this.#pending.length + end - start);
    all.set(this.#pending);
    all.set(bytes.subarray(start, end), this.#pending.length);
    const view = new DataView(all.buffer);
    const messages: Uint8Array[] = [];
    let at = 0;
    while (at + PREFIX <= all.length) {
      const size = view.getUint32(at + 1);
      if (all[at] !== 0 || size > this.#maxSize) return undefined;
      const next = at + PREFIX + size;
      if (next > all.length) break;
      messages.push(all.subarray(at + PREFIX, next));
      at = next;
    }
    this.#pending = all.slice(at);
    return messages;
  }
}
