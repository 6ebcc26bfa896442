/**
 * One side of a tunnel: what is read there, frame by frame, and passed on to the other side as it came, in the
 * runs in which it was read.
 *
 * @module
 */
import { ByteReader } from "../../common/byte_reader.ts";
import type { Clock, Timed } from "../../common/clock.ts";
import type { Duplex } from "../../common/duplex.ts";
import type { ByteWriter } from "../../http/h1/writer.ts";
import { AbuseBudget } from "../../http/h2/budget.ts";
import type { ConnectionError } from "../../http/h2/errors.ts";
import { FRAME_ERROR, FrameReader, NEED_MORE } from "../../http/h2/frame_reader.ts";
import { encodeSettings } from "../../http/h2/frame_writer.ts";
import { DEFAULT_TABLE_SIZE } from "../../http/h2/hpack/dynamic_table.ts";
import type { H2Options } from "../../http/h2/options.ts";
import type { Keepalive } from "../../http/h2/keepalive.ts";
import { initialSettings, Setting, type Settings } from "../../http/h2/settings.ts";
import { BlockRelay } from "./block_relay.ts";
import type { Sink } from "./hold.ts";
import { Outlet } from "./outlet.ts";

/** Bytes that are read at once while little comes, and while much does. */
const SMALL_READ = 4 * 1024;
const LARGE_READ = 64 * 1024;
/** SETTINGS that a peer may leave without acknowledgement. */
const MAX_UNACKNOWLEDGED = 100;
/** The window of a connection and of its streams before anybody changes it (RFC 9113, section 6.9.2). */
export const INITIAL_WINDOW = 65_535;

/**
 * What becomes of a frame.
 *
 * - `pass`: it goes on as it came, and so does the beginning of its field block.
 * - `drop`: neither does. What takes their place has been put into {@linkcode Leg.onward}.
 * - `more`: it is a part of a field block that goes on.
 * - `wait`: that is not known before {@linkcode Leg.waitFor} has resolved; nothing is read until then.
 */
export type Verdict = "pass" | "drop" | "more" | "wait";

/** Judges the frames of one side. Nothing of it may throw. */
export interface FrameJudge {
  /** Whether nothing more is taken: what comes is thrown away. */
  readonly ended: boolean;
  /** A frame came, DATA too in one piece; `leg.frames` says what it is, `leg.frameStart` where it began. */
  onFrame(buffer: Uint8Array): Verdict;
  /** What the last frame had to wait for is there; for those who let one wait. */
  onWaited?(buffer: Uint8Array): Verdict;
  /** The bytes are no frames. */
  onBadFrame(error: ConnectionError): void;
  /** A frame, or a field block in several, has not come to its end in time. */
  onLateFrame(): void;
}

/** One of the SETTINGS. */
export type Entry = readonly [id: number, value: number];

/** SETTINGS that were sent to a peer and are not acknowledged. */
export interface SentSettings {
  /** Whether they are those of the other side, which wants the acknowledgement. */
  readonly forwarded: boolean;
  /** By how much they lower the window that streams begin with; 0 or negative. */
  readonly lowered: number;
}

/** What a {@linkcode Leg} is made of. */
export interface LegParts {
  /** The socket. */
  readonly duplex: Duplex;
  /** For deadlines. */
  readonly clock: Clock;
  /** What the peer is granted. */
  readonly options: H2Options;
  /** Called when a write to this side has ended. Must not throw. */
  readonly onWritten?: () => void;
}

/** One side. */
export class Leg implements Timed {
  /** When the frame that has begun must have ended, while its rest is read for. */
  deadline = Infinity;
  /** The socket. */
  readonly duplex: Duplex;
  /** What was read from it. */
  readonly reader: ByteReader;
  /** What is written to it. */
  readonly outlet: Outlet;
  /** The frame that is judged. */
  readonly frames: FrameReader = new FrameReader();
  /** Decodes the field blocks of this side, and says how they go on. */
  readonly blocks: BlockRelay = new BlockRelay();
  /** What the peer may make us do for nothing. */
  readonly budget: AbuseBudget;
  /** What the peer has told of itself. */
  readonly peer: Settings = initialSettings();
  /** SETTINGS that it has still to acknowledge. */
  readonly unacknowledged: SentSettings[] = [];
  /** What it was told last; at first what holds without a word (RFC 9113, section 6.5.2). */
  readonly #told = new Map<number, number>([
    [Setting.HeaderTableSize, DEFAULT_TABLE_SIZE],
    [Setting.InitialWindowSize, INITIAL_WINDOW],
  ]);
  /** Whether its first SETTINGS have come. */
  ready = false;
  /** Where its frames go; `undefined` until it is known, and then none may pass. */
  target: Sink | undefined;
  /** Told of what is read, where the peer is asked whether it is there. */
  keepalive: Keepalive | undefined;
  /** See {@linkcode Verdict}. */
  waitFor: Promise<void> | undefined;
  /** Where the frame or the field block begins that is judged, and the index behind it. */
  frameStart = 0;
  frameEnd = 0;
  readonly #clock: Clock;
  readonly #frameTimeout: number;
  /** Until when the frame or field block that has begun may take; `Infinity` while there is none. */
  #frameBy = Infinity;
  /** Told when it has taken longer. */
  #judge: FrameJudge | undefined;
  /** Where the frames begin that pass and have not been handed over. */
  #runStart = 0;
  /** How many bytes behind the last frame that passed have been looked at. */
  #ahead = 0;

  /** Takes a socket over. */
  constructor(parts: LegParts) {
    const { duplex, clock, options, onWritten } = parts;
    const { minPingInterval, permitIdlePings, writeTimeout, frameTimeout } = options;
    this.duplex = duplex;
    this.#clock = clock;
    this.#frameTimeout = frameTimeout;
    clock.watch(this);
    this.budget = new AbuseBudget({ minPingInterval, permitIdlePings });
    this.reader = new ByteReader(duplex, SMALL_READ);
    this.outlet = new Outlet({
      duplex,
      clock,
      timeout: writeTimeout,
      onWritten: () => {
        this.budget.clearQueued();
        onWritten?.();
      },
    });
  }

  /**
   * Tells the peer what it has not been told, in `out`; whether there was anything. It has to acknowledge
   * that.
   */
  tell(out: ByteWriter, entries: readonly Entry[], sent: SentSettings): boolean {
    const told = this.#told;
    const news = entries.filter(([id, value]) => told.get(id) !== value);
    if (news.length === 0) return false;
    for (const [id, value] of news) told.set(id, value);
    encodeSettings(out, news);
    this.unacknowledged.push(sent);
    this.outlet.schedule();
    return true;
  }

  /** Whether it has left more of them without acknowledgement than any peer with good intentions. */
  get owesTooMuch(): boolean {
    return this.unacknowledged.length > MAX_UNACKNOWLEDGED;
  }

  /**
   * Where frames for the other side are put, behind all that passed before. The run that is being judged goes
   * on behind them.
   */
  get onward(): ByteWriter {
    const { writer } = this.target!;
    if (this.frameStart > this.#runStart) {
      writer.range(this.reader.buffer, this.#runStart, this.frameStart);
      this.#runStart = this.frameStart;
    }
    return writer;
  }

  /** Puts what is judged there as well; for a verdict of `drop` behind which something else is to follow. */
  passFirst(): ByteWriter {
    const out = this.onward;
    out.range(this.reader.buffer, this.frameStart, this.frameEnd);
    return out;
  }

  /**
   * Reads, judges and passes on until the peer ends. A write that the other side does not take stops the
   * reading. Never rejects.
   *
   * @param isIdle Whether little is to be expected, so that large buffers need not be kept.
   */
  async pump(judge: FrameJudge, isIdle: () => boolean): Promise<void> {
    const { reader } = this;
    this.#judge = judge;
    let before = 0;
    for (;;) {
      const { start } = reader;
      const waiting = this.#walk(judge);
      const passed = this.#handOver();
      if (reader.start !== start) this.#frameBy = Infinity;
      if (passed !== undefined || waiting !== undefined) {
        const { time } = this.#clock;
        if (passed !== undefined) await passed;
        if (waiting !== undefined) await waiting;
        // The peer cannot be blamed for the time in which it is not read.
        this.#frameBy += this.#clock.time - time;
        if (waiting !== undefined) continue;
      }
      // Only behind a small read: between two bursts of a busy connection the buffer stays as it is.
      const small = reader.bytesRead - before < SMALL_READ;
      if (small && reader.available === 0 && isIdle()) reader.shrink();
      if (reader.full || this.frames.needed > reader.buffer.length) {
        // A field block is passed on in one piece, too.
        reader.grow(reader.full ? Math.max(LARGE_READ, reader.buffer.length * 2) : LARGE_READ);
      }
      before = reader.bytesRead;
      if (reader.available > 0) this.#awaitFrame();
      const more = await reader.fill();
      this.deadline = Infinity;
      if (!more) return;
      this.keepalive?.onRead();
      if (reader.end === reader.buffer.length) reader.grow(LARGE_READ);
    }
  }

  /**
   * Something has begun and not ended, which must not take for ever: nothing else comes before. DATA may take any
   * time, as it does where it is passed on in pieces.
   */
  #awaitFrame(): void {
    const { frames } = this;
    const inData = frames.unfinished && frames.blockStream === 0;
    // Before the first SETTINGS another deadline holds.
    if (!this.ready || inData) return;
    const now = this.#clock.now();
    if (this.#frameBy === Infinity) this.#frameBy = now + this.#frameTimeout;
    this.#clock.arm(this, this.#frameBy - now);
  }

  onDeadline(): void {
    this.#judge!.onLateFrame();
  }

  /** Nothing is read or written any more. */
  end(): void {
    this.#clock.unwatch(this);
    this.keepalive?.end();
    this.outlet.end();
    this.reader.dispose();
  }

  /** Judges what is there. Returns what must be waited for before it can go on. */
  #walk(judge: FrameJudge): Promise<void> | undefined {
    const { reader, frames } = this;
    const { buffer, end } = reader;
    let at = reader.start + this.#ahead;
    this.#runStart = this.frameStart = reader.start;
    let waited = this.waitFor !== undefined;
    this.waitFor = undefined;
    while (!judge.ended) {
      if (!waited) {
        const next = frames.next(buffer, at, end);
        if (next === NEED_MORE) {
          this.#ahead = at - this.frameStart;
          return undefined;
        }
        if (next === FRAME_ERROR) {
          judge.onBadFrame(frames.error);
          break;
        }
        at = next;
        // A frame is passed on in one piece, so that others can come between any two.
        if (!frames.last) continue;
      }
      this.frameEnd = at;
      const verdict = waited ? judge.onWaited!(buffer) : judge.onFrame(buffer);
      waited = false;
      if (verdict === "pass") this.frameStart = at;
      else if (verdict === "drop") {
        this.#skip(at);
      } else if (verdict === "wait") {
        this.#ahead = at - this.frameStart;
        return this.waitFor;
      }
    }
    // What comes behind the end is thrown away, so that the peer can read why it ended.
    this.#skip(end);
    this.#ahead = 0;
    return undefined;
  }

  /** Leaves out what is judged. */
  #skip(at: number): void {
    if (this.frameStart > this.#runStart) void this.onward;
    this.#runStart = this.frameStart = at;
  }

  /** Hands over the run that has passed; resolves when it has been taken. */
  #handOver(): Promise<void> | undefined {
    const { reader, target } = this;
    const start = this.#runStart;
    const end = reader.start = this.#runStart = this.frameStart;
    if (target === undefined) return undefined;
    if (end > start) return target.forward(reader.buffer, start, end);
    return target.writer.at > 0 ? target.flushed() : undefined;
  }
}
