/**
 * One HTTP/2 connection, as server or as client: RFC 9113.
 *
 * Frames are handled as they are read, in one turn; what they make us send is gathered and leaves in one
 * write. The engine does not know what carries its bytes.
 *
 * The parts: {@linkcode Receiver} handles what comes, {@linkcode Streams} is what there is, its two flows are
 * the windows, {@linkcode Outbox} what leaves, and {@linkcode Closing} the end; {@linkcode Keepalive} and
 * {@linkcode Age} are there where they are asked for. Here they are put together, read for, and given their
 * deadline.
 *
 * @module
 */
import { ByteReader } from "../../common/byte_reader.ts";
import type { Clock, Timed } from "../../common/clock.ts";
import type { Duplex } from "../../common/duplex.ts";
import { describeError } from "../../common/errors.ts";
import type { CloseReason } from "../../observe/close_reason.ts";
import { Age } from "./age.ts";
import { Closing, DRAIN_PING_MS } from "./closing.ts";
import { type ConnectionError, connectionError, H2Code } from "./errors.ts";
import { encodeSettings, encodeWindowUpdate } from "./frame_writer.ts";
import { Keepalive } from "./keepalive.ts";
import { Link } from "./link.ts";
import { DEFAULT_H2_OPTIONS, type H2Handler, type H2Options, type H2Parts } from "./options.ts";
import type { Role } from "./options.ts";
import { Outbox } from "./outbox.ts";
import { CLIENT_PREFACE, matchPreface } from "./preface.ts";
import { Receiver } from "./receiver.ts";
import { INITIAL_WINDOW } from "./send_flow.ts";
import { Setting } from "./settings.ts";
import { Stalls } from "./stalls.ts";
import type { H2Stream, StreamListener } from "./stream.ts";
import { Streams } from "./streams.ts";

export { DEFAULT_H2_OPTIONS, type H2Handler, type H2Options, type H2Parts, type Role };

/** Bytes that are read at once while little comes, and while much does. */
const SMALL_READ = 4 * 1024;
const LARGE_READ = 64 * 1024;
/** How long a peer may be silent that has been told of the end, in milliseconds. */
const LINGER_MS = 1000;

/** One HTTP/2 connection. */
export class H2Connection implements Timed {
  /** Which side we are. */
  readonly role: Role;
  deadline = Infinity;
  readonly #duplex: Duplex;
  readonly #clock: Clock;
  readonly #options: H2Options;
  readonly #reader: ByteReader;
  readonly #outbox: Outbox;
  readonly #link: Link;
  readonly #streams: Streams;
  readonly #closing: Closing;
  readonly #receiver: Receiver;
  readonly #keepalive: Keepalive | undefined;
  readonly #age: Age | undefined;
  readonly #stalls: Stalls | undefined;
  #tableAsked = false;
  /** When the socket is closed whatever the peer does, once we have ended our side. */
  #closeBy: number | undefined;
  readonly #done = Promise.withResolvers<void>();
  #drainsWhenReady = false;
  /** When the frame or field block that has begun must have ended; `Infinity` while there is none. */
  #frameBy = Infinity;
  /** When the write that is under way must have moved. */
  #writeBy = Infinity;
  /** The stream whose field block it is. */
  #blockStream = 0;

  /** Takes a connection over; {@linkcode run} does the work. */
  constructor(parts: H2Parts) {
    const { role, duplex, clock, handler } = parts;
    const options = { ...DEFAULT_H2_OPTIONS, ...parts.options };
    this.role = role;
    this.#duplex = duplex;
    this.#clock = clock;
    this.#options = options;
    this.#reader = new ByteReader(duplex, SMALL_READ, true);
    const outbox = this.#outbox = new Outbox(duplex, {
      onWriteBegun: () => {
        this.#writeBy = this.#clock.time + this.#options.writeTimeout;
        this.#arm();
      },
      onWritten: () => this.#onWritten(),
    });
    const link = this.#link = new Link({
      role,
      options,
      handler,
      clock,
      outbox,
      fail: (error) => this.#closing.fail(error),
    });
    const streams = this.#streams = new Streams(link, {
      onOpened: () => this.#onOpened(),
      onGone: () => this.#onGone(),
    });
    const closing = this.#closing = new Closing({
      link,
      duplex,
      streams,
      onPhase: () => this.#arm(),
    });
    this.#receiver = new Receiver({ link, streams, closing }, () => this.#onReady());
    if (options.keepaliveTime < Infinity) {
      this.#keepalive = new Keepalive({
        clock,
        options,
        reader: this.#reader,
        outbox,
        peer: link,
        streams: () => streams.size,
        closing,
      });
    }
    if (options.maxAge < Infinity) this.#age = new Age(closing, clock, options);
    if (options.windowTimeout < Infinity) {
      this.#stalls = streams.sending.watcher = new Stalls(
        { link, streams, closing },
        options.windowTimeout,
      );
    }
    this.#greet();
  }

  /** Resolves when the connection has ended. */
  get finished(): Promise<void> {
    return this.#done.promise;
  }

  /** How many streams are open. */
  get streams(): number {
    return this.#streams.size;
  }

  /** Whether another stream may be opened; client role. */
  get available(): boolean {
    return this.#closing.open && this.#streams.available;
  }

  /** Whether the connection takes no more streams for good. */
  get ending(): boolean {
    return !this.#closing.open;
  }

  /** Why we ended the connection, if the peer made us or had its time. */
  get error(): ConnectionError | undefined {
    return this.#closing.error;
  }

  /** Which time or limit of ours made us end the connection, if one did; what was refused as abuse is not meant. */
  get closeReason(): CloseReason | undefined {
    return this.#closing.reason;
  }

  /** For how long the peer has had no stream, in milliseconds; `undefined` while anything is under way. */
  get idleTime(): number | undefined {
    const busy = this.#streams.size > 0 || this.#outbox.writing;
    if (busy || !this.#closing.open || !this.#link.ready) return undefined;
    return this.#clock.time - (this.deadline - this.#options.idleTimeout);
  }

  /** Whether the peer has opened any stream. */
  get used(): boolean {
    return this.#streams.lastOfPeer > 0;
  }

  /** All bytes read. */
  get bytesRead(): number {
    return this.#reader.bytesRead;
  }

  /** All bytes written. */
  get bytesWritten(): number {
    return this.#outbox.bytesWritten;
  }

  #greet(): void {
    const { maxConcurrentStreams, streamWindow, connectionWindow, fields } = this.#options;
    const out = this.#outbox.writer;
    if (this.role === "client") out.bytes(CLIENT_PREFACE);
    encodeSettings(out, [
      this.role === "client"
        ? [Setting.EnablePush, 0]
        : [Setting.MaxConcurrentStreams, maxConcurrentStreams],
      [Setting.InitialWindowSize, streamWindow],
      [Setting.MaxHeaderListSize, fields.maxListSize],
    ]);
    if (this.role === "client") this.#askForNoTable();
    if (connectionWindow > INITIAL_WINDOW) {
      encodeWindowUpdate(out, 0, connectionWindow - INITIAL_WINDOW);
    }
    this.#outbox.schedule();
  }

  /**
   * A table of size 0 lets the peer's blocks carry no state, so that they can be copied as they come. It is
   * asked for, not insisted on: some peers (old clients, h2spec) go on with the 4096 bytes that hold at first,
   * so the decoder keeps to those, and what depends on a table is encoded anew. Clients are asked when
   * their first stream has ended: those with a single request are spared it.
   */
  #askForNoTable(): void {
    this.#tableAsked = true;
    encodeSettings(this.#outbox.writer, [[Setting.HeaderTableSize, 0]]);
  }

  /** Reads until the connection ends. Never rejects. */
  async run(): Promise<void> {
    const reader = this.#reader;
    this.#clock.watch(this);
    this.#clock.arm(this, this.#options.settingsTimeout);
    this.#keepalive?.begin();
    this.#age?.begin();
    let detail = "the connection ended";
    try {
      if (this.role === "client" || await this.#readPreface()) await this.#readFrames();
      if (reader.ended?.type === "error") detail = describeError(reader.ended.error);
    } finally {
      this.#clock.unwatch(this);
      this.#keepalive?.end();
      this.#age?.end();
      this.#stalls?.end();
      this.#closing.lose(detail);
      this.#duplex.close();
      this.#done.resolve();
    }
  }

  async #readPreface(): Promise<boolean> {
    const reader = this.#reader;
    for (;;) {
      const match = matchPreface(reader.buffer, reader.start, reader.end);
      if (match === "match") {
        reader.start += CLIENT_PREFACE.length;
        return true;
      }
      if (match === "mismatch") {
        this.#closing.fail(connectionError(H2Code.ProtocolError, "no connection preface"));
        return true;
      }
      if (!await reader.fill()) return false;
    }
  }

  async #readFrames(): Promise<void> {
    const reader = this.#reader;
    const receiver = this.#receiver;
    let before = 0;
    for (;;) {
      const { start } = reader;
      this.#clock.hold();
      try {
        reader.start = receiver.read(reader.buffer, start, reader.end);
      } finally {
        this.#clock.release();
      }
      const { blockStream } = receiver;
      if (reader.available > 0 || blockStream > 0) this.#awaitFrame(start, blockStream);
      else if (this.#frameBy < Infinity) this.#endFrame();
      // Only behind a small read: between two bursts of a busy connection the buffer stays as it is.
      const small = reader.bytesRead - before < SMALL_READ;
      if (small && reader.available === 0 && this.#streams.size === 0) reader.shrink();
      if (receiver.needed > reader.buffer.length || reader.full) reader.grow(LARGE_READ);
      before = reader.bytesRead;
      if (!await reader.fill()) break;
      this.#keepalive?.onRead();
      if (this.#closing.closed) this.#arm();
      if (reader.end === reader.buffer.length) reader.grow(LARGE_READ);
    }
    await this.#closing.said;
  }

  /**
   * Something has begun and not ended, which must not take for ever.
   *
   * @param start Where the reading began: whether anything has ended since.
   * @param blockStream The stream whose field block is open; 0 for none.
   */
  #awaitFrame(start: number, blockStream: number): void {
    const same = blockStream > 0 ? blockStream === this.#blockStream : start === this.#reader.start;
    if (same && this.#frameBy < Infinity) return;
    this.#blockStream = blockStream;
    this.#frameBy = this.#clock.now() + this.#options.frameTimeout;
    this.#arm();
  }

  #endFrame(): void {
    this.#frameBy = Infinity;
    this.#arm();
  }

  /** Opens a stream with a request head; client role, and only while {@linkcode available}. */
  openStream(
    block: Uint8Array,
    options: {
      readonly endStream: boolean;
      readonly noBody: boolean;
      readonly listener: StreamListener;
    },
  ): H2Stream {
    const stream = this.#streams.open();
    stream.listener = options.listener;
    stream.noBody = options.noBody;
    stream.sendHeaders(block, options.endStream);
    if (this.#streams.exhausted) this.drain();
    return stream;
  }

  #onReady(): void {
    this.#arm();
    if (this.#drainsWhenReady) this.#closing.drain();
    this.#link.handler.onReady?.();
  }

  #onOpened(): void {
    if (this.#streams.size === 1) this.#arm();
  }

  #onGone(): void {
    if (!this.#tableAsked) this.#askForNoTable();
    if (this.#streams.size === 0) this.#arm();
    this.#link.handler.onStreamEnded?.();
    this.#closing.endIfIdle();
  }

  #onWritten(): void {
    this.#link.budget.clearQueued();
    this.#arm();
    this.#streams.sending.pump();
  }

  /** Sets the deadline for what is waited for now. That of the peer's SETTINGS is set once, by `run`. */
  #arm(): void {
    if (this.#closing.closed) return this.#armLast();
    if (!this.#link.ready) return;
    let delay = Infinity;
    if (this.#outbox.writing) delay = this.#writeBy - this.#clock.time;
    else if (this.#closing.phase === "announced") delay = DRAIN_PING_MS;
    else if (this.#streams.size === 0) delay = this.#options.idleTimeout;
    if (this.#frameBy < Infinity) delay = Math.min(delay, this.#frameBy - this.#clock.time);
    this.#clock.arm(this, delay);
  }

  /**
   * The peer has a while to read what is left and to close the connection, and longer as long as it is seen to read.
   * One that broke the rules is not waited for.
   */
  #armLast(): void {
    const { writeTimeout } = this.#options;
    const { time } = this.#clock;
    this.#closeBy ??= time + (this.error === undefined ? writeTimeout : LINGER_MS);
    const delay = this.#outbox.writing ? writeTimeout : LINGER_MS;
    this.#clock.arm(this, Math.min(delay, this.#closeBy - time));
  }

  onDeadline(): void {
    if (this.#closing.closed) return this.#duplex.close();
    if (this.#frameBy <= this.#clock.time) {
      this.#link.refuses("frame_timeout");
      return;
    }
    if (this.#outbox.writing) return this.#onWriteExpired();
    if (!this.#link.ready && !this.#drainsWhenReady) {
      this.#closing.reason = "settings_timeout";
      this.#closing.fail(connectionError(H2Code.SettingsTimeout, "no SETTINGS in time"));
    } else if (this.#closing.phase === "announced") this.#closing.onRoundTrip();
    else this.#closing.drain(this.#drainsWhenReady ? "drain_idle_timeout" : "idle_timeout");
  }

  /** A write has not moved in its time, as far as the runtime says. */
  #onWriteExpired(): void {
    if (this.#duplex.isTaking?.() !== true) {
      return this.#closing.cut("write_timeout", "the peer reads nothing");
    }
    this.#writeBy = this.#clock.time + this.#options.writeTimeout;
    this.#arm();
  }

  /**
   * Takes no more streams, in two steps so that none under way to us is lost; ends when all have ended.
   *
   * @param idle How long a client that has not said anything yet may still do so, in milliseconds. Default 0.
   */
  drain(idle = 0): void {
    if (idle === 0 || this.role === "client" || this.#link.ready) return this.#closing.drain();
    this.#drainsWhenReady = true;
    this.#clock.arm(this, Math.min(idle, this.#options.settingsTimeout));
  }

  /** Ends the connection now. */
  abort(): void {
    this.#closing.abort();
  }
}
