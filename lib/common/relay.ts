/**
 * Bytes both ways between two sockets, each direction ended on its own.
 *
 * @module
 */
import { bodyBuffers } from "./buffer_pool.ts";
import { type Duplex, writeAll } from "./duplex.ts";

/** Counts what passes, and is told that something did. */
export interface RelayMeter {
  /** Bytes from the first to the second. */
  sent: number;
  /** Bytes from the second to the first. */
  received: number;
  /** Called after each write. */
  onProgress(): void;
  /** Called once, when one direction has ended in order and the other goes on. */
  onHalfClosed(): void;
}

/** How a relay ended. */
export type RelayEnd =
  /** Both directions were closed in order. */
  | { readonly type: "closed" }
  /** Reading from or writing to one side failed; both were closed. */
  | { readonly type: "failed"; readonly cause: unknown };

/** Bytes of the buffer of a direction while little passes. */
const SMALL = 4 * 1024;

/**
 * Joins two sockets until both directions have ended. The end of one direction is passed on as a half
 * close, while the other goes on; a failure closes both sides. Never rejects, and leaves both sides
 * closed.
 *
 * @param first Bytes that were read from `a` before, and go to `b` first.
 */
export async function relay(
  a: Duplex,
  b: Duplex,
  meter: RelayMeter,
  first?: Uint8Array,
): Promise<RelayEnd> {
  let end: RelayEnd = { type: "closed" };
  let halfClosed = false;
  const onEnd = () => {
    if (halfClosed) return;
    halfClosed = true;
    meter.onHalfClosed();
  };
  const fail = (cause: unknown) => {
    if (end.type === "closed") end = { type: "failed", cause };
    a.close();
    b.close();
  };
  await Promise.all([
    pump(a, b, (count) => {
      meter.sent += count;
      meter.onProgress();
    }, first).then(onEnd).catch(fail),
    pump(b, a, (count) => {
      meter.received += count;
      meter.onProgress();
    }).then(onEnd).catch(fail),
  ]);
  a.close();
  b.close();
  return end;
}

/** One direction. It holds a small buffer until a read fills it, then a large one until one does not. */
async function pump(
  from: Duplex,
  to: Duplex,
  onBytes: (count: number) => void,
  first?: Uint8Array,
): Promise<void> {
  if (first !== undefined && first.length > 0) {
    await writeAll(to, first);
    onBytes(first.length);
  }
  let small: Uint8Array | undefined = new Uint8Array(SMALL);
  let buffer: Uint8Array = small;
  try {
    for (;;) {
      const count = await from.read(buffer);
      if (count === null) break;
      const written = await to.write(count === buffer.length ? buffer : buffer.subarray(0, count));
      if (written < count) await writeAll(to, buffer.subarray(written, count));
      onBytes(count);
      if (buffer === small) {
        if (count === SMALL) {
          buffer = bodyBuffers.acquire();
          small = undefined;
        }
      } else if (count < SMALL) {
        bodyBuffers.release(buffer);
        buffer = small = new Uint8Array(SMALL);
      }
    }
  } finally {
    bodyBuffers.release(buffer);
  }
  await to.closeWrite();
}
