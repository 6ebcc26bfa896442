/**
 * The second try of a call beside one that takes long: gRFC A6, Hedging. Until its answer begins it is on its own;
 * then it becomes the try of the call, or ends.
 *
 * @module
 */
import type { Lease, LiveBackend } from "../../backend/backend.ts";
import type { H2Connection } from "../../http/h2/connection.ts";
import { H2Code } from "../../http/h2/errors.ts";
import type { H2ResponseHead } from "../../http/h2/response_head.ts";
import type { H2Stream, StreamListener, StreamReset } from "../../http/h2/stream.ts";
import type { RequestStats, UpstreamStats } from "../../observe/metrics.ts";

/** What a hedge tells its call. */
export interface HedgeEvents {
  /** There is a connection: the call opens a stream and sends its request on it. */
  onHedgeConnected(hedge: Hedge, connection: H2Connection): void;
  /** There is none. */
  onHedgeUnreached(hedge: Hedge, error: unknown): void;
  /** Its answer begins. */
  onHedgeHead(hedge: Hedge, head: H2ResponseHead, endStream: boolean): void;
  /** Its stream is gone before that. */
  onHedgeReset(hedge: Hedge, reset: StreamReset): void;
}

/** Where it goes, and what counts it. */
export interface HedgeParts {
  /** Not the backend of the first try. */
  readonly backend: LiveBackend;
  /** Asked for when it began: the backend may be gone before it has ended. */
  readonly stats: UpstreamStats;
  /** The same. */
  readonly series: RequestStats;
}

/** A second try. */
export class Hedge implements StreamListener {
  readonly backend: LiveBackend;
  readonly stats: UpstreamStats;
  readonly series: RequestStats;
  /** Held until it ends, or the call takes it over. */
  readonly lease: Lease;
  /** Its stream, once there is one. */
  stream: H2Stream | undefined;
  /** Bytes of the request that have been framed. */
  sent = 0;
  readonly #call: HedgeEvents;
  #over = false;

  /** A hedge; {@linkcode begin} makes it. */
  constructor(call: HedgeEvents, { backend, stats, series }: HedgeParts) {
    this.#call = call;
    this.backend = backend;
    this.stats = stats;
    this.series = series;
    this.lease = backend.acquire();
  }

  /** Finds a connection. */
  begin(): void {
    const connection = this.backend.h2.take();
    if (connection !== undefined) {
      this.stats.reuses++;
      this.#call.onHedgeConnected(this, connection);
      return;
    }
    this.stats.connects++;
    this.#openLater();
  }

  #openLater(): void {
    this.backend.h2.acquire().then(
      (connection) => {
        if (this.#over) return;
        if (connection.available) this.#call.onHedgeConnected(this, connection);
        else this.#openLater();
      },
      (error) => {
        if (!this.#over) this.#call.onHedgeUnreached(this, error);
      },
    );
  }

  /** The call takes the lease and the stream over. */
  yield(): void {
    this.#over = true;
  }

  /** Ends it; the backend need not go on. */
  cancel(): void {
    this.#over = true;
    this.stream?.reset(H2Code.Cancel);
    this.lease.release();
  }

  onHead(head: H2ResponseHead, endStream: boolean): void {
    if (!this.#over && !head.interim) this.#call.onHedgeHead(this, head, endStream);
  }

  onReset(reset: StreamReset): void {
    if (!this.#over) this.#call.onHedgeReset(this, reset);
  }

  onSent(count: number): void {
    this.sent += count;
  }

  onData(): void {
    // Nothing comes before the head, and then the call listens.
  }

  onTrailers(): void {
    // The same.
  }
}
