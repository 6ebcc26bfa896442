/**
 * Finds out that a peer of a tunnel is gone without a word (gRFC A8, grpc/doc/keepalive.md). PINGs do not pass a
 * tunnel: each side is asked, and answered, by itself.
 *
 * @module
 */
import type { Clock, Timed } from "../../common/clock.ts";
import { encodePing } from "../../http/h2/frame_writer.ts";
import type { H2Options } from "../../http/h2/options.ts";
import type { Leg } from "./leg.ts";

/** The payload of our PINGs; nobody looks at it. */
const PAYLOAD = new Uint8Array(8);

/** What keepalive is made of. */
export interface KeepaliveParts {
  /** The side that is asked. */
  readonly leg: Leg;
  /** For the deadline. */
  readonly clock: Clock;
  /** When it is asked, and how long it has. */
  readonly options: H2Options;
  /** Whether streams are open. */
  readonly isBusy: () => boolean;
  /** Called when nothing was said in time. Must not throw. */
  readonly onSilent: () => void;
}

/** Asks a peer with a PING when it has been silent. */
export class Keepalive implements Timed {
  deadline = Infinity;
  readonly #parts: KeepaliveParts;
  /** How much had been read when the PING that is not answered was sent; -1 while there is none. */
  #asked = -1;

  /** Begins to watch. */
  constructor(parts: KeepaliveParts) {
    this.#parts = parts;
    parts.clock.watch(this);
    parts.clock.arm(this, parts.options.keepaliveTime);
  }

  /** Ends watching. */
  end(): void {
    this.#parts.clock.unwatch(this);
  }

  onDeadline(): void {
    const { leg, clock, options, isBusy, onSilent } = this.#parts;
    const { outlet, reader } = leg;
    if (this.#asked === reader.bytesRead) return onSilent();
    this.#asked = -1;
    const rest = leg.readAt + options.keepaliveTime - clock.time;
    if (rest > 0) return clock.arm(this, rest);
    // A write that does not end has a deadline of its own, and what is not read tells nothing.
    const asks = leg.ready && reader.reading && !outlet.writing &&
      (isBusy() || options.keepaliveIdle);
    if (!asks) return clock.arm(this, options.keepaliveTime);
    encodePing(outlet.writer, PAYLOAD, 0);
    outlet.schedule();
    this.#asked = reader.bytesRead;
    clock.arm(this, options.keepaliveTimeout);
  }
}
