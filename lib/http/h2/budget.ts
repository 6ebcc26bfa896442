/**
 * What a peer may make us do for nothing: counters of one connection against the known floods
 * (RFC 9113, section 10.5). Pure: the time is passed in, and a refusal is a token.
 *
 * Every refusal means: GOAWAY with ENHANCE_YOUR_CALM, and the connection ends.
 *
 * @module
 */

/**
 * Why a connection is ended, as the stable token that log, metrics and tests share. All but the first two are
 * answers of {@linkcode AbuseBudget}.
 */
export type AbuseToken =
  /** A field block above the limit, or the decoder's verdict `excessive`. */
  | "field_block_flood"
  /** A frame or a field block that did not come to its end in time. */
  | "frame_timeout"
  /** Streams opened and reset again within a second, by the peer or by us on its account. */
  | "rapid_reset"
  /** A field block in too many CONTINUATION frames. */
  | "continuation_flood"
  /** Frames with nothing in them, one after the other. */
  | "empty_frames"
  /** Frames that we must send do not leave: the peer asks, but does not read. */
  | "control_queue"
  /** SETTINGS too often. */
  | "settings_flood"
  /** PING too often. */
  | "ping_flood"
  /** Keepalive PINGs more often than allowed; the token is what gRPC clients look for (gRFC A8). */
  | "too_many_pings"
  /** PRIORITY too often. */
  | "priority_flood"
  /** WINDOW_UPDATE far more often than we send data. */
  | "window_update_flood"
  /** Frames of unknown types too often. */
  | "unknown_frames";

/** How much is allowed; numbers of frames or streams. */
export interface BudgetLimits {
  /** Resets at once. Default 100. */
  readonly resetBurst: number;
  /** Resets per second in the long run. Default 20. */
  readonly resetRate: number;
  /** CONTINUATION frames of one field block. Default 8. */
  readonly continuations: number;
  /** Frames without content in a row. Default 100. */
  readonly emptyFrames: number;
  /** Control frames that wait to be written. Default 1000. */
  readonly controlQueue: number;
  /** SETTINGS, and PING, at once. Default 100. */
  readonly controlBurst: number;
  /** SETTINGS, and PING, per second in the long run. Default 10. */
  readonly controlRate: number;
  /** PRIORITY, and frames of unknown types, for each stream and the connection. Default 100. */
  readonly priorityPerStream: number;
  /** WINDOW_UPDATE for each DATA frame that we sent. Default 10. */
  readonly windowUpdatesPerData: number;
  /**
   * Milliseconds between two PINGs unless HEADERS or DATA were sent in between. Default 0: any number, as far
   * as `controlRate` goes.
   */
  readonly minPingInterval: number;
  /** Whether that interval holds without streams too; else it is {@linkcode IDLE_PING_INTERVAL}. Default `true`. */
  readonly permitIdlePings: boolean;
}

/** The limits of trusted implementations; see the module's tests. */
export const DEFAULT_BUDGET_LIMITS: BudgetLimits = {
  resetBurst: 100,
  resetRate: 20,
  continuations: 8,
  emptyFrames: 100,
  controlQueue: 1000,
  controlBurst: 100,
  controlRate: 10,
  priorityPerStream: 100,
  windowUpdatesPerData: 10,
  minPingInterval: 0,
  permitIdlePings: true,
};

/** Milliseconds between two PINGs without streams where those are not permitted (gRFC A8: two hours). */
export const IDLE_PING_INTERVAL = 7_200_000;
/** PINGs before their time that are forgiven (gRFC A8). */
const FORGIVEN_PINGS = 2;

/** Milliseconds that a stream must have lived for its reset to be no rapid one; Envoy has the same second. */
const RAPID = 1000;

/** WINDOW_UPDATE frames that are always allowed. */
const FREE_WINDOW_UPDATES = 5;

/** Tokens that come back with time, up to a burst. */
class TokenBucket {
  readonly #burst: number;
  readonly #perMillisecond: number;
  #left: number;
  #at = -Infinity;

  constructor(burst: number, perSecond: number) {
    this.#burst = burst;
    this.#perMillisecond = perSecond / 1000;
    this.#left = burst;
  }

  /** Takes one; `false` when there is none. A clock that goes back gives nothing and takes nothing. */
  take(now: number): boolean {
    if (now > this.#at) {
      if (this.#at !== -Infinity) {
        this.#left = Math.min(this.#burst, this.#left + (now - this.#at) * this.#perMillisecond);
      }
      this.#at = now;
    }
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }

  /** Gives one back. */
  refund(): void {
    if (this.#left < this.#burst) this.#left++;
  }
}

/**
 * The budget of one connection; each method counts one event and answers with the token of the refusal, or
 * `undefined`. Times are milliseconds of a clock that does not go back.
 */
export class AbuseBudget {
  readonly #limits: BudgetLimits;
  readonly #resets: TokenBucket;
  readonly #pings: TokenBucket;
  readonly #settings: TokenBucket;
  #streams = 0;
  #dataSent = 0;
  #continuations = 0;
  #empty = 0;
  #queued = 0;
  #priorities = 0;
  #unknown = 0;
  #windowUpdates = 0;
  #lastPing = -Infinity;
  #badPings = 0;
  #sentSincePing = true;

  /** Makes a full budget; limits that are not given have their default. */
  constructor(given: Partial<BudgetLimits> = {}) {
    const limits = this.#limits = { ...DEFAULT_BUDGET_LIMITS, ...given };
    this.#resets = new TokenBucket(limits.resetBurst, limits.resetRate);
    this.#pings = new TokenBucket(limits.controlBurst, limits.controlRate);
    this.#settings = new TokenBucket(limits.controlBurst, limits.controlRate);
  }

  /** A stream was opened, by whichever side: it earns other frames. */
  countStream(): void {
    this.#streams++;
  }

  /** We sent a DATA frame: it earns WINDOW_UPDATEs, and a PING, with which peers measure the bandwidth. */
  countDataSent(): void {
    this.#dataSent++;
    this.#sentSincePing = true;
    this.#pings.refund();
  }

  /** We sent HEADERS: the peer's keepalive may begin anew. */
  countHeadersSent(): void {
    this.#sentSincePing = true;
  }

  /**
   * The peer reset a stream, or we reset one because of what the peer did: both cost the same, or the
   * peer would make us do it (Rapid Reset, CVE-2023-44487, and MadeYouReset, CVE-2025-8671).
   */
  countReset(now: number): AbuseToken | undefined {
    return this.#resets.take(now) ? undefined : "rapid_reset";
  }

  /**
   * The peer reset a stream that was opened at `opened`. One that has lived for a while has cost no more than any
   * other, so a client whose calls all run into their deadlines is not taken for a flood.
   */
  countCancel(now: number, opened: number): AbuseToken | undefined {
    return now - opened >= RAPID ? undefined : this.countReset(now);
  }

  /** A stream ended in order on both sides: it makes up for one that was reset. */
  countEnded(): void {
    this.#resets.refund();
  }

  /** HEADERS came, `length` bytes of its block in it. */
  countHeaders(length: number, endStream: boolean): AbuseToken | undefined {
    this.#continuations = 0;
    return this.#countContent(length, endStream);
  }

  /** CONTINUATION came, with `length` bytes of the block. */
  countContinuation(length: number): AbuseToken | undefined {
    if (++this.#continuations > this.#limits.continuations) return "continuation_flood";
    return this.#countContent(length, false);
  }

  /** A DATA frame began whose content is `length` bytes, without padding. One that ends a stream has a use. */
  countData(length: number, endStream: boolean): AbuseToken | undefined {
    return this.#countContent(length, endStream);
  }

  #countContent(length: number, endStream: boolean): AbuseToken | undefined {
    if (length > 0 || endStream) this.#empty = 0;
    else if (++this.#empty > this.#limits.emptyFrames) return "empty_frames";
    return undefined;
  }

  /** A frame that the peer caused (an acknowledgement, RST_STREAM) waits to be written. */
  countQueued(): AbuseToken | undefined {
    return ++this.#queued > this.#limits.controlQueue ? "control_queue" : undefined;
  }

  /** All that waited has been written. */
  clearQueued(): void {
    this.#queued = 0;
  }

  /** SETTINGS came that is no acknowledgement. */
  countSettings(now: number): AbuseToken | undefined {
    return this.#settings.take(now) ? undefined : "settings_flood";
  }

  /**
   * PING came that is no acknowledgement, while `streams` were open. What is too often, and that the count begins
   * anew whenever we send HEADERS or DATA, is as gRPC has it (gRFC A8, grpc/doc/keepalive.md).
   */
  countPing(now: number, streams: number): AbuseToken | undefined {
    const { minPingInterval, permitIdlePings } = this.#limits;
    const interval = streams > 0 || permitIdlePings ? minPingInterval : IDLE_PING_INTERVAL;
    const early = now - this.#lastPing < interval;
    this.#lastPing = now;
    if (this.#sentSincePing) {
      this.#sentSincePing = false;
      this.#badPings = 0;
    } else if (early && ++this.#badPings > FORGIVEN_PINGS) return "too_many_pings";
    return this.#pings.take(now) ? undefined : "ping_flood";
  }

  /** PRIORITY came. */
  countPriority(): AbuseToken | undefined {
    const allowed = this.#limits.priorityPerStream * (1 + this.#streams);
    return ++this.#priorities > allowed ? "priority_flood" : undefined;
  }

  /** A frame of an unknown type came; some extensions send one for each request. */
  countUnknown(): AbuseToken | undefined {
    const allowed = this.#limits.priorityPerStream * (1 + this.#streams);
    return ++this.#unknown > allowed ? "unknown_frames" : undefined;
  }

  /** WINDOW_UPDATE came. */
  countWindowUpdate(): AbuseToken | undefined {
    const earned = this.#streams + this.#limits.windowUpdatesPerData * this.#dataSent;
    const allowed = FREE_WINDOW_UPDATES + 2 * earned;
    return ++this.#windowUpdates > allowed ? "window_update_flood" : undefined;
  }
}
