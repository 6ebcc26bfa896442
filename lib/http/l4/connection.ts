/**
 * One client connection at layer 4: given to one backend for its life, from its first byte.
 *
 * @module
 */
import type { Waiting } from "../../backend/admission.ts";
import type { Lease, LiveBackend } from "../../backend/backend.ts";
import { isLocal, openWatched } from "../../backend/connector.ts";
import type { Member } from "../../backend/pool.ts";
import type { Timed } from "../../common/clock.ts";
import { ANSWERED } from "../../backend/outcome.ts";
import { failedBy, Passes, toldAs } from "../../backend/recovery.ts";
import { type Duplex, writeAll } from "../../common/duplex.ts";
import { describeError, type ErrorCode, ProxyError } from "../../common/errors.ts";
import { relay, type RelayMeter } from "../../common/relay.ts";
import type { Served } from "../../mux/listener.ts";
import { ReplayDuplex } from "../../mux/replay.ts";
import { sniffManagement } from "../../mux/sniff.ts";
import type { CloseReason } from "../../observe/close_reason.ts";
import { getLogger } from "../../observe/logger.ts";
import { SampledLog } from "../../observe/sampled_log.ts";
import { hashText } from "../../strategy/hash.ts";
import { encodeError } from "../problem.ts";
import type { StreamContext } from "./context.ts";

/** Bytes that are read to see what a connection is for. */
const FIRST_READ = 2048;
/** The route of connections, which have none, in the log. */
const NO_ROUTE = "-";

const log = getLogger("l4");
const refusals = new SampledLog(log, {
  message: "a connection could not be relayed",
  by: ["code", "backend"],
});

/** What was found out about a connection before it is relayed. */
type Opening =
  | { readonly type: "relay"; readonly first: Uint8Array | undefined }
  | { readonly type: "management"; readonly first: Uint8Array }
  | { readonly type: "gone" };

/** One client connection. */
export class StreamConnection implements Served, Timed, RelayMeter {
  readonly #client: Duplex;
  readonly #context: StreamContext;
  #upstream: Duplex | undefined;
  #managed: Served | undefined;
  /** Set while it waits for a backend that has room. */
  #waiting: Waiting | undefined;
  /** Whether the first byte is still waited for. */
  #silent = false;
  /** What it means that its time is over; `undefined` once it is refused. */
  #late: CloseReason | undefined = "first_byte_timeout";
  /** How long the relayed connection may be silent, in milliseconds. */
  #patience: number;
  #error: ErrorCode | "" = "";
  deadline = Infinity;
  sent = 0;
  received = 0;

  /** Takes a connection over. */
  constructor(client: Duplex, context: StreamContext) {
    this.#client = client;
    this.#context = context;
    this.#patience = context.timeouts.idle;
  }

  async serve(): Promise<void> {
    const { clock } = this.#context;
    clock.watch(this);
    try {
      const opening = await this.#open();
      if (opening.type === "management") {
        clock.disarm(this);
        this.#managed = this.#context.management!(new ReplayDuplex(this.#client, opening.first));
        await this.#managed.serve();
      } else if (opening.type === "relay") await this.#proxy(opening.first);
    } catch (error) {
      log.error("a connection failed", { error: describeError(error) });
    } finally {
      clock.unwatch(this);
      this.#client.close();
    }
  }

  /** A relayed connection cannot be asked to end: it goes on until it ends, or is cut. */
  drain(idle = 0): void {
    if (this.#silent) {
      this.#late = "drain_idle_timeout";
      if (idle === 0) this.#client.close();
      else this.#context.clock.arm(this, idle);
    }
    this.#managed?.drain(idle);
  }

  abort(): void {
    this.#error ||= "shutdown";
    this.#managed?.abort();
    this.#waiting?.cancel();
    this.#client.close();
    this.#upstream?.close();
  }

  onDeadline(): void {
    this.#context.metrics.closed(this.#late);
    // A client that was refused and lingers was refused for another reason.
    this.#error ||= "request_timeout";
    this.#client.close();
    this.#upstream?.close();
  }

  onProgress(): void {
    this.#context.clock.arm(this, this.#patience);
  }

  /** What is left may be an answer on its way, or a peer that has gone without a word. */
  onHalfClosed(): void {
    const { idle, halfClosed } = this.#context.timeouts;
    if (halfClosed < idle) this.#late = "half_closed_timeout";
    this.#patience = Math.min(idle, halfClosed);
    this.onProgress();
  }

  /** Looks at the first bytes where management may be called, as far as it takes to know. */
  async #open(): Promise<Opening> {
    const { management, clock, timeouts } = this.#context;
    if (management === undefined) return { type: "relay", first: undefined };
    clock.arm(this, timeouts.firstByte);
    const bytes = new Uint8Array(FIRST_READ);
    let length = 0;
    this.#silent = true;
    for (;;) {
      let count: number | null;
      try {
        count = await this.#client.read(bytes.subarray(length));
      } catch (error) {
        // The client gave up before it sent anything that could be passed on.
        log.debug("a client went away", { error: describeError(error) });
        return { type: "gone" };
      }
      this.#silent = false;
      if (count === null) return length === 0 ? { type: "gone" } : relayFirst(bytes, length);
      length += count;
      const verdict = sniffManagement(bytes, length);
      if (verdict === "no") return relayFirst(bytes, length);
      if (verdict === "yes") return { type: "management", first: bytes.subarray(0, length) };
    }
  }

  async #proxy(first: Uint8Array | undefined): Promise<void> {
    const { clock, metrics, pool, maxAttempts, recovery } = this.#context;
    const started = clock.now();
    recovery.count(started);
    clock.disarm(this);
    let backend: LiveBackend | undefined;
    let attempts = 0;
    const tried = new Set<LiveBackend>();
    const passes = new Passes();
    try {
      for (;;) {
        const lease = this.#next(tried)?.acquire() ?? await this.#wait(tried);
        backend = lease.backend;
        const stats = metrics.upstream(backend.id);
        stats.attempts++;
        if (++attempts > 1) stats.retries++;
        try {
          const upstream = this.#upstream = await this.#connect(backend);
          lease.report(ANSWERED);
          stats.connects++;
          stats.active++;
          this.#late = "tunnel_idle_timeout";
          this.onProgress();
          const end = await relay(this.#client, upstream, this, first);
          stats.active--;
          stats.bytesSent += this.sent;
          stats.bytesReceived += this.received;
          if (end.type === "failed") {
            log.debug("a relayed connection failed", { error: describeError(end.cause) });
          }
          return;
        } catch (error) {
          if (!(error instanceof ProxyError)) throw error;
          stats.failed(error.code);
          const local = isLocal(error);
          if (!local) lease.report(failedBy(error.code));
          tried.add(backend);
          const outlook = pool.outlook(except(tried));
          if (local && (error.retry === "never" || outlook === "none")) throw error;
          if (outlook !== "none") {
            const free = passes.allow(backend, outlook);
            if (
              !passes.within(attempts, maxAttempts) || !(free || recovery.take(metrics))
            ) throw error;
            if (free) passes.pass(error.code !== "connect_timeout");
          }
          log.debug("a backend was not reached", { error: describeError(error) });
        } finally {
          lease.release();
        }
      }
    } catch (error) {
      await this.#refuse(error, backend);
    } finally {
      metrics.bytesReceived += this.sent;
      metrics.bytesSent += this.received;
      this.#log(started, backend, attempts);
    }
  }

  #next(tried: ReadonlySet<LiveBackend>): LiveBackend | undefined {
    return this.#context.pool.pick(except(tried), this.#key);
  }

  /** What the client is hashed by. */
  get #key(): number | undefined {
    return this.#context.hashed ? hashText(this.#client.remote.hostname) : undefined;
  }

  /** None was found: all may have as many connections as they may have. */
  async #wait(tried: ReadonlySet<LiveBackend>): Promise<Lease> {
    const { pool } = this.#context;
    const waiting = pool.serves(except(tried)) ? pool.wait(except(tried), this.#key) : undefined;
    if (waiting === undefined) {
      const why = tried.size === 0
        ? `pool ${pool.name} has no active backend`
        : "no backend can be reached";
      throw new ProxyError("no_backend", "upstream", why);
    }
    this.#waiting = waiting;
    try {
      return await waiting.lease;
    } finally {
      this.#waiting = undefined;
    }
  }

  #connect(backend: LiveBackend): Promise<Duplex> {
    const { connect, connectTimeout, caCerts } = this.#context;
    return openWatched(backend.connectWatch, () =>
      connect(backend.address, {
        timeout: connectTimeout,
        ...(caCerts === undefined ? {} : { caCerts }),
      }));
  }

  /** Where the client is known to speak HTTP it is told; otherwise closing is all that can be said. */
  async #refuse(error: unknown, backend: LiveBackend | undefined): Promise<void> {
    if (!(error instanceof ProxyError)) throw error;
    this.#late = undefined;
    const code = this.#error ||= toldAs(error.code, this.#context.pool);
    refusals.warning({
      code: error.code,
      backend: backend?.addr ?? "",
      error: describeError(error),
    });
    this.#context.metrics.refused(code);
    if (this.#context.management === undefined) return;
    this.#context.clock.arm(this, 1000);
    try {
      await writeAll(this.#client, encodeError(code, { noBody: false, close: true }));
      await this.#client.closeWrite();
      const rest = new Uint8Array(FIRST_READ);
      // Closing with bytes unread would make the client's system throw the answer away.
      while (await this.#client.read(rest) !== null);
    } catch {
      // The client has gone, or the deadline closed the socket: it was refused anyway.
    }
  }

  #log(started: number, backend: LiveBackend | undefined, attempts: number): void {
    const { accessLog, clock, metrics } = this.#context;
    accessLog?.write({
      time: Date.now(),
      listener: metrics.name,
      client: this.#client.remote.hostname,
      method: "",
      target: "",
      protocol: "TCP",
      status: 0,
      bytesIn: this.sent,
      bytesOut: this.received,
      durationMs: clock.now() - started,
      route: NO_ROUTE,
      backend: backend?.addr ?? "",
      attempts,
      requestId: "",
      host: "",
      userAgent: "",
      referer: "",
      error: this.#error,
    });
  }
}

function relayFirst(bytes: Uint8Array, length: number): Opening {
  return { type: "relay", first: bytes.subarray(0, length) };
}

/** What leaves out backends that were tried. */
function except(tried: ReadonlySet<LiveBackend>): ((member: Member) => boolean) | undefined {
  return tried.size === 0 ? undefined : ({ backend }) => tried.has(backend);
}
