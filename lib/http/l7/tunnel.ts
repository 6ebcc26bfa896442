/**
 * After `101 Switching Protocols`: bytes both ways, each direction ended on its own.
 *
 * @module
 */
import { bodyBuffers } from "../../common/buffer_pool.ts";
import type { ByteReader } from "../../common/byte_reader.ts";
import { type Duplex, writeAll } from "../../common/duplex.ts";
import type { CloseReason } from "../../observe/close_reason.ts";

/** One end of a tunnel. */
export interface TunnelEnd {
  /** What is read from it, with bytes in it that came behind the head. */
  readonly reader: ByteReader;
  /** Where bytes for it go. */
  readonly duplex: Duplex;
}

/** Bytes that went through a tunnel. */
export interface TunnelBytes {
  /** From the client to the backend. */
  up: number;
  /** From the backend to the client. */
  down: number;
}

/** How long a tunnel may be silent, in milliseconds. */
export interface TunnelTimeouts {
  /** While both directions go on. */
  readonly tunnelIdle: number;
  /** Once one has ended. */
  readonly halfClosed: number;
}

/** What has a deadline. */
interface Armed {
  /** Sets it, in milliseconds from now. */
  arm(delay: number): void;
}

/** Told what happens in a tunnel. */
export interface TunnelWatcher {
  /** Bytes have passed. */
  onProgress(): void;
  /** One direction has ended in order, and the other goes on. Called once. */
  onHalfClosed(): void;
}

/** Sets a deadline anew whenever bytes have passed. */
export class TunnelDeadline implements TunnelWatcher {
  /** What it means that it has passed. */
  reason: CloseReason = "tunnel_idle_timeout";
  readonly #timeouts: TunnelTimeouts;
  readonly #armed: Armed;
  #patience: number;

  /** Sets the first deadline. */
  constructor(timeouts: TunnelTimeouts, armed: Armed) {
    this.#timeouts = timeouts;
    this.#armed = armed;
    this.#patience = timeouts.tunnelIdle;
    this.onProgress();
  }

  onProgress(): void {
    this.#armed.arm(this.#patience);
  }

  onHalfClosed(): void {
    const { tunnelIdle, halfClosed } = this.#timeouts;
    if (halfClosed < tunnelIdle) this.reason = "half_closed_timeout";
    this.#patience = Math.min(tunnelIdle, halfClosed);
    this.onProgress();
  }
}

/**
 * Joins two ends until both directions have ended, or one fails, which closes both. Never rejects.
 */
export async function runTunnel(
  client: TunnelEnd,
  upstream: TunnelEnd,
  watcher: TunnelWatcher,
): Promise<TunnelBytes> {
  const bytes: TunnelBytes = { up: 0, down: 0 };
  let halfClosed = false;
  const onEnd = (whole: boolean) => {
    if (!whole) {
      client.duplex.close();
      upstream.duplex.close();
    } else if (!halfClosed) {
      halfClosed = true;
      watcher.onHalfClosed();
    }
  };
  await Promise.all([
    pump(client.reader, upstream.duplex, (count) => {
      bytes.up += count;
      watcher.onProgress();
    }).then(onEnd),
    pump(upstream.reader, client.duplex, (count) => {
      bytes.down += count;
      watcher.onProgress();
    }).then(onEnd),
  ]);
  return bytes;
}

/** Moves bytes until the end, which it passes on; `false` when either side failed. */
async function pump(
  from: ByteReader,
  to: Duplex,
  onBytes: (count: number) => void,
): Promise<boolean> {
  try {
    for (;;) {
      const { available } = from;
      if (available > 0) {
        await writeAll(to, from.buffer.subarray(from.start, from.end));
        // A tunnel that is busy reads much at a time, one that is quiet holds little.
        const busy = available === from.buffer.length;
        from.start = from.end;
        if (busy) from.grow(bodyBuffers.size);
        else from.shrink();
        onBytes(available);
      } else if (!await from.fill()) {
        if (from.ended?.type !== "eof") return false;
        await to.closeWrite();
        return true;
      }
    }
  } catch {
    // The receiving side failed: the caller closes both ends, which is all there is to do.
    return false;
  }
}
