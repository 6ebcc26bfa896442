/**
 * Finds out that the peer is gone: a host that lost its power says nothing, and neither does its kernel
 * (gRFC A8, gRFC A9, grpc/doc/keepalive.md). How often the peer may do the same is for the budget.
 *
 * @module
 */
import type { ByteReader } from "../../common/byte_reader.ts";
import type { Clock, Timed } from "../../common/clock.ts";
import type { CloseReason } from "../../observe/close_reason.ts";
import type { ByteWriter } from "../h1/writer.ts";
import { encodePing } from "./frame_writer.ts";
import type { H2Options } from "./options.ts";

/** The payload of our PINGs; nobody looks at it. */
const PAYLOAD = new Uint8Array(8);

/** What keepalive looks at: one connection, or one side of a tunnel. Nothing of it may throw. */
export interface KeepaliveParts {
  /** For the deadline. */
  readonly clock: Clock;
  /** When the peer is asked, and how long it has. */
  readonly options: Pick<H2Options, "keepaliveTime" | "keepaliveTimeout" | "keepaliveIdle">;
  /** Whether anything has come. */
  readonly reader: Pick<ByteReader, "bytesRead" | "reading">;
  /** Where PINGs leave. */
  readonly outbox: {
    readonly writer: ByteWriter;
    readonly writing: boolean;
    schedule(): void;
  };
  /** Whether the peer's first SETTINGS have come. */
  readonly peer: { readonly ready: boolean };
  /** How many streams are open. */
  readonly streams: () => number;
  /** What is ended when nothing was said in time. */
  readonly closing: { cut(reason: CloseReason, detail: string): void };
}

/** Asks the peer with a PING when it has been silent, and ends the connection when it stays so. */
export class Keepalive implements Timed {
  deadline = Infinity;
  readonly #parts: KeepaliveParts;
  /** When something was read, in milliseconds of the clock. */
  #lastRead = 0;
  /** How much had been read when the PING that is not answered was sent; -1 while there is none. */
  #asked = -1;

  /** Made with the connection. */
  constructor(parts: KeepaliveParts) {
    this.#parts = parts;
  }

  /** The connection begins. */
  begin(): void {
    const { clock, options } = this.#parts;
    clock.watch(this);
    clock.arm(this, options.keepaliveTime);
    this.onRead();
  }

  /** The connection has ended. */
  end(): void {
    this.#parts.clock.unwatch(this);
  }

  /** Something was read; that is all that it costs. */
  onRead(): void {
    this.#lastRead = this.#parts.clock.time;
  }

  onDeadline(): void {
    const { clock, options, reader, outbox, peer, streams, closing } = this.#parts;
    const { keepaliveTime, keepaliveTimeout, keepaliveIdle } = options;
    if (this.#asked === reader.bytesRead) {
      return closing.cut(
        "keepalive_timeout",
        `no answer to a PING within ${keepaliveTimeout} ms`,
      );
    }
    this.#asked = -1;
    const rest = this.#lastRead + keepaliveTime - clock.time;
    if (rest > 0) return clock.arm(this, rest);
    // A write that does not end has a deadline of its own, and a PING behind it would say nothing new. What is not
    // read, because the other side of a tunnel takes nothing, tells nothing either.
    const asks = peer.ready && reader.reading && !outbox.writing &&
      (keepaliveIdle || streams() > 0);
    if (!asks) return clock.arm(this, keepaliveTime);
    encodePing(outbox.writer, PAYLOAD, 0);
    outbox.schedule();
    this.#asked = reader.bytesRead;
    clock.arm(this, keepaliveTimeout);
  }
}
