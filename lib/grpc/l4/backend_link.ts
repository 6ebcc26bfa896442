/**
 * The backend of a tunnel: picked and connected to when the first call for it comes, and there until one of both
 * sides ends.
 *
 * @module
 */
import type { Lease, LiveBackend } from "../../backend/backend.ts";
import { ANSWERED } from "../../backend/outcome.ts";
import { failedBy } from "../../backend/recovery.ts";
import type { Timed } from "../../common/clock.ts";
import { describeError, type ErrorCode, ProxyError } from "../../common/errors.ts";
import { type ConnectionError, H2Code } from "../../http/h2/errors.ts";
import { encodeGoaway, encodeSettingsAck } from "../../http/h2/frame_writer.ts";
import { DEFAULT_H2_OPTIONS, type H2Options } from "../../http/h2/options.ts";
import { CLIENT_PREFACE } from "../../http/h2/preface.ts";
import { Setting } from "../../http/h2/settings.ts";
import { getLogger } from "../../observe/logger.ts";
import type { UpstreamStats } from "../../observe/metrics.ts";
import { hashText } from "../../strategy/hash.ts";
import { type BackendEvents, BackendFrames } from "./backend_frames.ts";
import type { Binder } from "./client_blocks.ts";
import { settingsFor } from "./client_frames.ts";
import type { TunnelContext } from "./context.ts";
import { Keepalive } from "./keepalive.ts";
import { Leg } from "./leg.ts";
import type { Tunnel } from "./tunnel.ts";

const log = getLogger("grpc");

/** What belongs to one backend that has been picked. */
interface Connected {
  readonly live: LiveBackend;
  readonly leg: Leg;
  readonly stats: UpstreamStats;
  readonly keepalive: Keepalive | undefined;
}

/** The backend's side of one tunnel. */
export class BackendLink implements Binder, BackendEvents, Timed {
  deadline = Infinity;
  readonly #tunnel: Tunnel;
  readonly #context: TunnelContext;
  readonly #options: H2Options;
  #connected: Connected | undefined;
  #lease: Lease | undefined;
  #ready: PromiseWithResolvers<void> | undefined;
  #running: Promise<void> | undefined;
  #closed = false;

  /** Begins without a backend. */
  constructor(tunnel: Tunnel, context: TunnelContext) {
    this.#tunnel = tunnel;
    this.#context = context;
    this.#options = { ...DEFAULT_H2_OPTIONS, ...context.h2 };
  }

  get live(): LiveBackend | undefined {
    return this.#connected?.live;
  }

  async bind(): Promise<ErrorCode | undefined> {
    const { pool, calls, hashed } = this.#context;
    const { recovery, metrics } = calls;
    const tried = new Set<LiveBackend>();
    const key = hashed ? hashText(this.#tunnel.address) : undefined;
    let code: ErrorCode = "no_backend";
    recovery.count(calls.clock.now());
    while (tried.size < calls.maxAttempts && !this.#closed) {
      const live = tried.size === 0
        ? pool.pick(undefined, key)
        : pool.pick((member) => tried.has(member.backend), key);
      if (live === undefined || (tried.size > 0 && !recovery.take(metrics))) break;
      const lease = live.acquire();
      const stats = calls.metrics.upstream(live.id);
      stats.attempts++;
      if (tried.size > 0) stats.retries++;
      try {
        await this.#open(live, stats);
        lease.report(ANSWERED);
        // The first call begins in this turn.
        this.#lease = lease;
        return undefined;
      } catch (error) {
        const known = error instanceof ProxyError
          ? error
          : new ProxyError("internal", "internal", "a backend failed", { cause: error });
        code = known.code;
        log.warning("a backend was not reached", { error: describeError(known) });
        stats.failed(code);
        if (known.side === "upstream") lease.report(failedBy(code));
        lease.release();
        tried.add(live);
      }
    }
    return code;
  }

  /** Connects, and waits for the backend's SETTINGS: what does not speak HTTP/2 gets no call. */
  async #open(live: LiveBackend, stats: UpstreamStats): Promise<void> {
    const { connect, connectTimeout, caCerts, calls: { clock } } = this.#context;
    const tunnel = this.#tunnel;
    const duplex = await connect(live.address, {
      timeout: connectTimeout,
      alpn: "h2",
      ...(caCerts === undefined ? {} : { caCerts }),
    });
    if (this.#closed) {
      duplex.close();
      throw new ProxyError("client_closed", "downstream", "the client has gone");
    }
    stats.connects++;
    stats.active++;
    const options = this.#options;
    const leg = new Leg({ duplex, clock, options });
    const frames = new BackendFrames(tunnel, { leg, events: this, fields: options.fields });
    const keepalive = options.keepaliveTime < Infinity
      ? new Keepalive({
        leg,
        clock,
        options,
        isBusy: () => tunnel.calls.size > 0,
        onSilent: () => this.#onSilent(live, leg),
      })
      : undefined;
    const connected = this.#connected = { live, leg, stats, keepalive };
    leg.target = tunnel.client.outlet;
    tunnel.client.target = leg.outlet;
    tunnel.backend = leg;
    tunnel.windows.onBackend();
    this.#greet(leg);
    const ready = this.#ready = Promise.withResolvers<void>();
    clock.watch(this);
    clock.arm(this, connectTimeout);
    this.#running = leg.pump(frames, () => tunnel.calls.size === 0)
      .then(() => this.#onEnded(connected));
    try {
      await ready.promise;
    } finally {
      clock.unwatch(this);
    }
  }

  /** A table of size 0 lets the backend's blocks carry no state, so that the same ones are decoded once. */
  #greet(leg: Leg): void {
    const { client, options } = this.#tunnel;
    const out = leg.outlet.writer;
    out.bytes(CLIENT_PREFACE);
    leg.tell(out, [
      [Setting.HeaderTableSize, 0],
      [Setting.EnablePush, 0],
      ...settingsFor(client.peer, options.fields),
    ], { forwarded: false, lowered: 0 });
    this.#tunnel.windows.creditBackend(1);
  }

  onBusy(): void {
    this.#lease ??= this.live?.acquire();
  }

  onIdle(): void {
    this.#lease?.release();
    this.#lease = undefined;
  }

  onReady(): void {
    this.#ready!.resolve();
  }

  onError(error: ConnectionError): void {
    const { live, leg } = this.#connected!;
    log.warning("a backend broke the protocol", { backend: live.addr, detail: error.detail });
    this.#leave(leg, error.code, error.detail);
  }

  onGoaway(): void {
    this.#tunnel.drain();
  }

  /** The backend said nothing in time. */
  onDeadline(): void {
    this.#connected?.leg.duplex.close();
  }

  #onSilent(live: LiveBackend, leg: Leg): void {
    const { keepaliveTimeout } = this.#options;
    log.warning("a backend is silent", { backend: live.addr, timeout_ms: keepaliveTimeout });
    leg.duplex.close();
  }

  /** Backends have come, gone or changed. One that is not picked any more keeps no client for itself. */
  onBackends(): void {
    if (this.live !== undefined && this.live.state !== "active") this.#tunnel.drain();
  }

  /** Says why, as far as the socket takes it at once, and closes. */
  #leave({ outlet, duplex }: Leg, code: H2Code, detail = ""): void {
    if (!outlet.writing) {
      encodeGoaway(outlet.writer, 0, code, detail);
      void outlet.flushed();
    }
    duplex.close();
  }

  #onEnded({ live, leg, stats, keepalive }: Connected): void {
    const tunnel = this.#tunnel;
    keepalive?.end();
    stats.active--;
    stats.bytesSent += leg.outlet.bytesWritten;
    stats.bytesReceived += leg.reader.bytesRead;
    leg.duplex.close();
    leg.outlet.end();
    leg.reader.dispose();
    this.#connected = undefined;
    tunnel.backend = undefined;
    tunnel.client.target = undefined;
    if (!leg.ready) {
      this.#ready!.reject(
        new ProxyError("upstream_protocol", "upstream", `${live.addr} does not speak HTTP/2`, {
          retry: "safe",
        }),
      );
      return;
    }
    if (tunnel.calls.size === 0) this.onIdle();
    if (this.#closed) return;
    log.debug("a backend has left a client", { backend: live.addr });
    if (tunnel.calls.size > 0) {
      stats.failed("upstream_closed");
      this.#lease?.report({ type: "failed", reason: "upstream_closed" });
    }
    // What it has not acknowledged any more is acknowledged in its place.
    const { outlet } = tunnel.client;
    for (const { forwarded } of leg.unacknowledged) {
      if (forwarded) encodeSettingsAck(outlet.writer);
    }
    outlet.schedule();
    tunnel.abandon("upstream_closed");
  }

  /** Ends the backend's side, because the client's has ended. Resolves when nothing is left of it. */
  async close(): Promise<void> {
    this.#closed = true;
    this.onIdle();
    if (this.#connected !== undefined) this.#leave(this.#connected.leg, H2Code.NoError);
    await this.#running;
  }
}
