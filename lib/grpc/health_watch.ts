/**
 * A stream of health over gRPC: `grpc.health.v1.Health/Watch` (gRPC, doc/health-checking.md).
 *
 * It has a connection of its own, so that it neither holds one that the calls of clients could give back nor is
 * lost with it. A peer that is gone without a word is found by a `Check` beside the silent stream, not by a PING:
 * servers of grpc-go, grpc-java and gRPC core send those away that ping more often than every five minutes without
 * getting any content in between (gRFC A8, `too_many_pings`), and an answered PING says nothing of a server that
 * answers no calls.
 *
 * @module
 */
import type { LiveBackend } from "../backend/backend.ts";
import { type Connect, openWatched } from "../backend/connector.ts";
import { isOwnFault } from "../backend/health/checked.ts";
import type { Watch, WatchEnd, WatchOptions } from "../backend/health/probe.ts";
import type { Clock, Timed } from "../common/clock.ts";
import { describeError } from "../common/errors.ts";
import { H2Connection } from "../http/h2/connection.ts";
import type { FieldList } from "../http/h2/hpack/field_list.ts";
import type { H2ResponseHead } from "../http/h2/response_head.ts";
import type { H2Stream, StreamListener, StreamReset } from "../http/h2/stream.ts";
import { describeCheck, MAX_TEXT } from "./check_error.ts";
import { callBackend, encodeCallHead, frameMessages, GrpcCallError } from "./client.ts";
import { HEALTH_CHECK, HEALTH_WATCH, type HealthCodec, makeCodecLoader } from "./health_codec.ts";
import { MessageReader } from "./message_reader.ts";
import { decodeMessage } from "./respond.ts";
import { GrpcStatus, statusOfHttp } from "./status.ts";

/** The longest message that is taken, in bytes: one status needs two. */
const MAX_MESSAGE = 4096;
/** The most statuses that are taken within a second; each may change what is picked, and is logged. */
const MAX_STATUSES = 1000;
const SECOND_MS = 1000;

/** What a {@linkcode makeGrpcWatch} is made of. */
export interface GrpcWatchParts {
  /** For all deadlines. */
  readonly clock: Clock;
  /** Opens the connections. */
  readonly connect: Connect;
  /** Certificates in PEM that are trusted beside the well-known ones. */
  readonly caCerts?: readonly string[];
}

/** Opens streams on which backends say how a service, or the server as a whole, is. */
export function makeGrpcWatch(service: string | undefined, parts: GrpcWatchParts): Watch {
  const load = makeCodecLoader(service);
  return async (backend, options) => {
    try {
      const codec = await load();
      return await new HealthStream(backend, { ...parts, ...options, service, codec }).run();
    } catch (error) {
      return endOf(error);
    }
  };
}

function endOf(error: unknown): WatchEnd {
  return isOwnFault(error)
    ? { type: "prevented" }
    : { type: "broken", reason: describeError(error) };
}

interface HealthStreamParts extends GrpcWatchParts, WatchOptions {
  readonly service: string | undefined;
  readonly codec: HealthCodec;
}

/**
 * What came of a check beside the stream.
 *
 * - `answered`: with a status, or an error.
 * - `alive`: the backend has Watch and no Check, but it is there.
 * - `none`: no answer in time.
 */
type CheckAnswer =
  | { readonly type: "answered"; readonly reason: string | undefined }
  | { readonly type: "alive" }
  | { readonly type: "none" };

/** One connection with one stream. */
class HealthStream implements StreamListener, Timed {
  deadline = Infinity;
  readonly #backend: LiveBackend;
  readonly #parts: HealthStreamParts;
  readonly #reader = new MessageReader(MAX_MESSAGE);
  readonly #end = Promise.withResolvers<WatchEnd>();
  /** Aborted at the end, whatever it is. */
  readonly #over = new AbortController();
  #connection: H2Connection | undefined;
  #stream: H2Stream | undefined;
  /** How often the backend has said how it is. */
  #said = 0;
  #lost = "the connection ended";
  /** How many statuses have come since when, within a second. */
  #counted = 0;
  #countedSince = -Infinity;

  constructor(backend: LiveBackend, parts: HealthStreamParts) {
    this.#backend = backend;
    this.#parts = parts;
  }

  /** Listens to the end; resolves when nothing is left of it. */
  async run(): Promise<WatchEnd> {
    const { clock, timeout, signal } = this.#parts;
    const onAbort = () => this.#finish({ type: "left" });
    signal.addEventListener("abort", onAbort);
    clock.watch(this);
    clock.arm(this, timeout);
    if (signal.aborted) onAbort();
    try {
      await this.#converse();
      return await this.#end.promise;
    } finally {
      clock.unwatch(this);
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Opens the connection and reads from it until it has ended. */
  async #converse(): Promise<void> {
    const { clock, connect, timeout, caCerts } = this.#parts;
    try {
      const { address, connectWatch } = this.#backend;
      const duplex = await openWatched(connectWatch, () =>
        connect(address, {
          timeout,
          alpn: "h2",
          ...(caCerts === undefined ? {} : { caCerts }),
        }));
      if (this.#over.signal.aborted) return duplex.close();
      const connection = this.#connection = new H2Connection({
        role: "client",
        duplex,
        clock,
        handler: {
          onReady: () => this.#open(),
          onSettings: () => this.#open(),
          onGoaway: () => this.#onGoaway(),
        },
        options: { settingsTimeout: timeout },
      });
      await connection.run();
      this.#fail(connection.error?.detail ?? this.#lost);
    } catch (error) {
      this.#finish(endOf(error));
    }
  }

  #open(): void {
    const connection = this.#connection!;
    // A backend may say at first that it takes no stream, and change its mind.
    if (this.#stream !== undefined || !connection.available) return;
    const stream = this.#stream = connection.openStream(
      encodeCallHead(this.#backend, { path: HEALTH_WATCH }),
      { endStream: false, noBody: false, listener: this },
    );
    const body = frameMessages([this.#parts.codec.question]);
    stream.sendData(body, 0, body.length, true);
  }

  /**
   * The backend wants to let go of the connection, because it ends or because of the connection's age. A stream
   * that stayed would keep a backend that waits for its streams from ending.
   */
  #onGoaway(): void {
    if (this.#said > 0) this.#finish({ type: "left" });
    else this.#fail("the backend said GOAWAY");
  }

  onHead(head: H2ResponseHead, endStream: boolean): void {
    if (head.interim) return;
    if (head.status !== 200 || !head.grpc) {
      return this.#onStatus(
        head.status === 200 ? GrpcStatus.Unknown : statusOfHttp(head.status),
        `HTTP status ${head.status} and not gRPC`,
      );
    }
    if (endStream) this.onTrailers(head.fields);
  }

  onData(bytes: Uint8Array, start: number, end: number, endStream: boolean): void {
    this.#stream!.consume(end - start);
    if (this.#over.signal.aborted) return;
    const messages = this.#reader.take(bytes, start, end);
    if (messages === undefined) {
      return this.#fail("a message of the health service is compressed or too long");
    }
    if (this.#floods(messages.length)) {
      return this.#fail(`the health service says more than ${MAX_STATUSES} statuses a second`);
    }
    // Of several that came together only the last is still true.
    const last = messages.at(-1);
    if (last !== undefined) this.#onMessage(last);
    if (endStream) this.#fail("the stream ended without a status");
  }

  #floods(count: number): boolean {
    const { time } = this.#parts.clock;
    if (time - this.#countedSince >= SECOND_MS) {
      this.#countedSince = time;
      this.#counted = 0;
    }
    this.#counted += count;
    return this.#counted > MAX_STATUSES;
  }

  #onMessage(message: Uint8Array): void {
    const { codec, onStatus, clock, silence } = this.#parts;
    let reason: string | undefined;
    try {
      reason = codec.judge(message);
    } catch (error) {
      return this.#fail(`a message of the health service is malformed: ${describeError(error)}`);
    }
    this.#said++;
    clock.arm(this, silence());
    onStatus(reason);
  }

  onTrailers(fields: FieldList): void {
    const value = fields.get("grpc-status");
    const status = value !== undefined && /^\d{1,3}$/.test(value)
      ? Number(value)
      : GrpcStatus.Unknown;
    this.#onStatus(status, decodeMessage(fields.get("grpc-message") ?? ""));
  }

  #onStatus(status: GrpcStatus, text: string): void {
    if (status === GrpcStatus.Unimplemented && this.#said === 0) {
      return this.#finish({ type: "unimplemented" });
    }
    const why = text === "" ? "" : `: ${text.slice(0, MAX_TEXT)}`;
    this.#fail(`the stream ended with grpc-status ${status}${why}`);
  }

  onReset(reset: StreamReset): void {
    // Why a connection ended is known best when it has ended.
    if (reset.connectionLost) this.#lost = reset.detail;
    else this.#fail(reset.detail);
  }

  onSent(): void {
    // The request is short and is not made as the stream takes it.
  }

  onDeadline(): void {
    if (this.#said > 0) void this.#askBeside();
    else this.#fail(`no status within ${this.#parts.timeout} ms`);
  }

  /** Finds out whether anybody is still there. */
  async #askBeside(): Promise<void> {
    // One that takes a single stream shows that it is there when it is watched anew.
    if (!this.#connection!.available) return this.#finish({ type: "left" });
    const { timeout, clock, silence, onCheck } = this.#parts;
    const said = this.#said;
    const answer = await this.#check();
    if (this.#over.signal.aborted) return;
    if (answer.type === "none") {
      return this.#fail(`no answer within ${timeout} ms to a check beside the silent stream`);
    }
    // What the stream has said in the meantime is newer.
    if (answer.type === "answered" && said === this.#said) onCheck(answer.reason);
    clock.arm(this, silence());
  }

  async #check(): Promise<CheckAnswer> {
    const { timeout, clock, service, codec: { question, judge } } = this.#parts;
    try {
      const [answer] = await callBackend(this.#backend, {
        path: HEALTH_CHECK,
        messages: [question],
        timeout,
        clock,
        signal: this.#over.signal,
        connection: this.#connection!,
      });
      const reason = answer === undefined ? "the health service says nothing" : judge(answer);
      return { type: "answered", reason };
    } catch (error) {
      const status = error instanceof GrpcCallError ? error.status : undefined;
      if (status === GrpcStatus.DeadlineExceeded) return { type: "none" };
      if (status === GrpcStatus.Unimplemented) return { type: "alive" };
      return { type: "answered", reason: describeCheck(error, service) };
    }
  }

  #fail(reason: string): void {
    this.#finish({ type: "broken", reason });
  }

  #finish(end: WatchEnd): void {
    if (this.#over.signal.aborted) return;
    this.#over.abort();
    this.#end.resolve(end);
    this.#parts.clock.disarm(this);
    this.#connection?.abort();
  }
}
