/**
 * The backend of a tunnel: searched for and connected to when the first call for it comes, and there until one of
 * both sides ends.
 *
 * @module
 */
import type { Lease, LiveBackend } from "../../backend/backend.ts";
import { ANSWERED } from "../../backend/outcome.ts";
import { failedBy } from "../../backend/recovery.ts";
import type { Timed } from "../../common/clock.ts";
import type { Duplex } from "../../common/duplex.ts";
import { type ErrorCode, ProxyError } from "../../common/errors.ts";
import { type ConnectionError, H2Code } from "../../http/h2/errors.ts";
import { encodeGoaway, encodeSettingsAck } from "../../http/h2/frame_writer.ts";
import { Keepalive } from "../../http/h2/keepalive.ts";
import { DEFAULT_H2_OPTIONS, type H2Options } from "../../http/h2/options.ts";
import { CLIENT_PREFACE } from "../../http/h2/preface.ts";
import { Setting } from "../../http/h2/settings.ts";
import { getLogger } from "../../observe/logger.ts";
import type { UpstreamStats } from "../../observe/metrics.ts";
import { type BackendEvents, BackendFrames, type Breach } from "./backend_frames.ts";
import { BackendSearch } from "./backend_search.ts";
import { attach, detach, giveUp, settingsFor } from "./binding.ts";
import type { Binder } from "./client_blocks.ts";
import type { TunnelContext } from "./context.ts";
import { Leg } from "./leg.ts";
import type { Tunnel } from "./tunnel.ts";

const log = getLogger("grpc");

/** What belongs to one connection to a backend. */
interface Connected {
  readonly live: LiveBackend;
  /** Held as long as the connection, which is what the backend has in flight. */
  readonly lease: Lease;
  readonly leg: Leg;
  readonly stats: UpstreamStats;
  /** Resolves when it takes calls; rejects when it ends before. */
  readonly ready: PromiseWithResolvers<void>;
  /** Whether it has answered a call. */
  answered: boolean;
  /** Why it ended, as the token of log and metrics. */
  reason: ErrorCode | Breach;
}

/** The backend's side of one tunnel. */
export class BackendLink implements Binder, BackendEvents, Timed {
  deadline = Infinity;
  readonly #tunnel: Tunnel;
  readonly #context: TunnelContext;
  readonly #options: H2Options;
  readonly #search: BackendSearch;
  #connected: Connected | undefined;
  #binding: Promise<void> | undefined;
  #running: Promise<void> | undefined;
  #closed = false;

  /** Begins without a backend. */
  constructor(tunnel: Tunnel, context: TunnelContext) {
    this.#tunnel = tunnel;
    this.#context = context;
    this.#options = { ...DEFAULT_H2_OPTIONS, ...context.h2 };
    this.#search = new BackendSearch({
      context,
      address: tunnel.address,
      isWanted: () => this.#isWanted,
      open: (lease, stats) => this.#open(lease, stats),
    });
  }

  get live(): LiveBackend | undefined {
    return this.#connected?.live;
  }

  get #isWanted(): boolean {
    return !this.#closed && this.#tunnel.calls.size > 0;
  }

  bind(): void {
    this.#binding ??= this.#bind();
  }

  async #bind(): Promise<void> {
    let code = await this.#search.run();
    // All calls were cancelled, and there are others now.
    while (code === "client_closed" && this.#isWanted) code = await this.#search.run();
    this.#binding = undefined;
    if (code !== undefined) giveUp(this.#tunnel, code);
  }

  /** Connects, and waits for the backend's SETTINGS: what does not speak HTTP/2 gets no call. */
  async #open(lease: Lease, stats: UpstreamStats): Promise<void> {
    const { connect, connectTimeout, caCerts, calls: { clock } } = this.#context;
    const { backend: live } = lease;
    const duplex = await connect(live.address, {
      timeout: connectTimeout,
      alpn: "h2",
      ...(caCerts === undefined ? {} : { caCerts }),
    });
    if (this.#closed) {
      duplex.close();
      throw clientHasGone();
    }
    stats.connects++;
    stats.active++;
    const leg = this.#makeLeg(duplex, live);
    const connected: Connected = this.#connected = {
      live,
      lease,
      leg,
      stats,
      ready: Promise.withResolvers(),
      answered: false,
      reason: "upstream_closed",
    };
    const tunnel = this.#tunnel;
    const frames = new BackendFrames(tunnel, {
      leg,
      events: this,
      fields: this.#options.fields,
    });
    this.#greet(leg);
    clock.watch(this);
    clock.arm(this, connectTimeout);
    this.#running = leg.pump(frames, () => tunnel.calls.size === 0)
      .then(() => this.#onEnded(connected));
    try {
      await connected.ready.promise;
    } finally {
      clock.unwatch(this);
    }
  }

  #makeLeg(duplex: Duplex, live: LiveBackend): Leg {
    const tunnel = this.#tunnel;
    const options = this.#options;
    const { clock } = this.#context.calls;
    const leg = new Leg({ duplex, clock, options });
    leg.target = tunnel.client.outlet;
    if (options.keepaliveTime < Infinity) {
      leg.keepalive = new Keepalive({
        clock,
        options,
        reader: leg.reader,
        outbox: leg.outlet,
        peer: leg,
        streams: () => tunnel.calls.size,
        closing: { cut: (detail) => this.#onSilent(live, leg, detail) },
      });
      leg.keepalive.begin();
    }
    return leg;
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
  }

  /** No call is left. */
  onIdle(): void {
    this.#search.cancel();
  }

  onReady(): void {
    const { live, lease, leg, ready } = this.#connected!;
    lease.answering();
    attach(this.#tunnel, leg, live);
    ready.resolve();
  }

  onAnswer(): void {
    const connected = this.#connected!;
    if (connected.answered) return;
    connected.answered = true;
    connected.lease.report(ANSWERED);
  }

  onError(error: ConnectionError, breach: Breach): void {
    const connected = this.#connected!;
    const { live, leg } = connected;
    connected.reason = breach;
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

  #onSilent(live: LiveBackend, leg: Leg, detail: string): void {
    log.warning("a backend is silent", { backend: live.addr, detail });
    this.#connected!.reason = "upstream_timeout";
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

  #onEnded(connected: Connected): void {
    const { live, lease, leg, stats, ready } = connected;
    stats.active--;
    stats.bytesSent += leg.outlet.bytesWritten;
    stats.bytesReceived += leg.reader.bytesRead;
    leg.duplex.close();
    leg.end();
    this.#connected = undefined;
    detach(this.#tunnel);
    if (!leg.ready) {
      ready.reject(this.#closed ? clientHasGone() : speaksNoHttp2(live));
      return;
    }
    if (!this.#closed) this.#onLost(connected);
    lease.release();
  }

  /** The backend has ended the connection, or made us end it. Without calls under way that is nothing unusual. */
  #onLost({ live, lease, leg, stats, answered, reason }: Connected): void {
    const tunnel = this.#tunnel;
    log.debug("a backend has left a client", { backend: live.addr });
    if (tunnel.calls.size > 0) {
      stats.failed(reason);
      // That it answered before is one thing, that it left calls behind another.
      if (answered) live.report(failedBy(reason), live.now);
      else lease.report(failedBy(reason));
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
    this.#search.cancel();
    if (this.#connected !== undefined) this.#leave(this.#connected.leg, H2Code.NoError);
    await this.#binding;
    await this.#running;
  }
}

function clientHasGone(): ProxyError {
  return new ProxyError("client_closed", "downstream", "the client has gone");
}

function speaksNoHttp2(live: LiveBackend): ProxyError {
  return new ProxyError("upstream_protocol", "upstream", `${live.addr} does not speak HTTP/2`, {
    retry: "safe",
  });
}
