/**
 * Counts the messages of one direction of a call: PROTOCOL-HTTP2.md, Length-Prefixed-Message.
 *
 * @module
 */

/** In front of each message: a flag and a length of four bytes, the highest first. */
const PREFIX = 5;
/** The largest flag that there is: 0 for as it is, 1 for compressed. */
const MAX_FLAG = 1;

/**
 * Counts messages that have come in full, however the bytes are split. It only looks on: what it cannot make
 * sense of ends the counting and nothing else.
 */
export class MessageCounter {
  /** Messages that have come in full. */
  count = 0;
  /** Bytes of the present prefix that have come. */
  #prefix = 0;
  /** The length as far as it has come. */
  #length = 0;
  /** Bytes of the present message that are still to come behind its prefix. */
  #left = 0;
  #lost = false;

  /** Whether a flag came that no message has, so that nothing is counted any more. */
  get lost(): boolean {
    return this.#lost;
  }

  /** Whether a message has begun and not ended. */
  get partial(): boolean {
    return this.#prefix > 0;
  }

  /**
   * Goes on with `bytes[start..end)`.
   *
   * @returns How many messages ended in it.
   */
  push(bytes: Uint8Array, start: number, end: number): number {
    if (this.#lost) return 0;
    const before = this.count;
    let at = start;
    while (at < end) {
      if (this.#prefix < PREFIX) {
        const byte = bytes[at++]!;
        if (this.#prefix++ === 0) {
          if (byte > MAX_FLAG) {
            this.#lost = true;
            break;
          }
          this.#length = 0;
          continue;
        }
        this.#length = this.#length * 256 + byte;
        if (this.#prefix < PREFIX) continue;
        this.#left = this.#length;
      } else {
        const step = Math.min(this.#left, end - at);
        this.#left -= step;
        at += step;
      }
      if (this.#left === 0) {
        this.count++;
        this.#prefix = 0;
      }
    }
    return this.count - before;
  }
}
