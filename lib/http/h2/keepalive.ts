/**
 * Finds out that the peer is gone: a host that lost its power says nothing, and neither does its kernel
 * (gRFC A8, gRFC A9, grpc/doc/keepalive.md). How often the peer may do the same is for the budget.
 *
 * @module
 */
import type { ByteReader } from "../../common/byte_reader.ts";
import type { Timed } from "../../common/clock.ts";
import type { Closing } from "./closing.ts";
import { encodePing } from "./frame_writer.ts";
import type { Link } from "./link.ts";
import type { Streams } from "./streams.ts";

/** The payload of our PINGs; nobody looks at it. */
const PAYLOAD = new Uint8Array(8);

/** What keepalive looks at. */
export interface KeepaliveParts {
  /** What the parts of the connection share. */
  readonly link: Link;
  /** Whether there are streams. */
  readonly streams: Streams;
  /** What is ended. */
  readonly closing: Closing;
  /** Whether anything has come. */
  readonly reader: ByteReader;
}

/** Asks the peer with a PING when it has been silent, and ends the connection when it stays so. */
export class Keepalive implements Timed {
  deadline = Infinity;
  readonly #parts: KeepaliveParts;
  /** When something was read, in milliseconds of the clock. */
  #lastRead = 0;
  /** How much had been read when the PING that is not answered was sent; -1 while there is none. */
  #asked = -1;

  /** Made by the connection. */
  constructor(parts: KeepaliveParts) {
    this.#parts = parts;
  }

  /** The connection begins. */
  begin(): void {
    const { clock, options } = this.#parts.link;
    clock.watch(this);
    clock.arm(this, options.keepaliveTime);
    this.onRead();
  }

  /** The connection has ended. */
  end(): void {
    this.#parts.link.clock.unwatch(this);
  }

  /** Something was read; that is all that it costs. */
  onRead(): void {
    this.#lastRead = this.#parts.link.clock.time;
  }

  onDeadline(): void {
    const { link, streams, closing, reader } = this.#parts;
    const { clock, outbox, options } = link;
    const { keepaliveTime, keepaliveTimeout, keepaliveIdle } = options;
    if (this.#asked === reader.bytesRead) {
      return closing.cut(`no answer to a PING within ${keepaliveTimeout} ms`);
    }
    this.#asked = -1;
    const rest = this.#lastRead + keepaliveTime - clock.time;
    if (rest > 0) return clock.arm(this, rest);
    // A write that does not end has a deadline of its own, and a PING behind it would say nothing new.
    if (outbox.writing || !link.ready || (streams.size === 0 && !keepaliveIdle)) {
      return clock.arm(this, keepaliveTime);
    }
    encodePing(outbox.writer, PAYLOAD, 0);
    outbox.schedule();
    this.#asked = reader.bytesRead;
    clock.arm(this, keepaliveTimeout);
  }
}
