/**
 * One client connection of a gRPC balancer at layer 4: all of its calls go to one backend, over one connection
 * and with the stream identifiers that the client gave them. Frames pass as they came, in the runs in which they
 * were read, once each has been judged; calls of the balancer's own services are answered here.
 *
 * @module
 */
import { formatHostPort } from "../../common/address.ts";
import type { Timed } from "../../common/clock.ts";
import type { Duplex } from "../../common/duplex.ts";
import { Age } from "../../http/h2/age.ts";
import { H2Code } from "../../http/h2/errors.ts";
import { Keepalive } from "../../http/h2/keepalive.ts";
import { DEFAULT_H2_OPTIONS, type H2Options } from "../../http/h2/options.ts";
import { CLIENT_PREFACE, matchPreface } from "../../http/h2/preface.ts";
import { Setting } from "../../http/h2/settings.ts";
import type { Served } from "../../mux/listener.ts";
import { getLogger } from "../../observe/logger.ts";
import { BackendLink } from "./backend_link.ts";
import { ClientFrames } from "./client_frames.ts";
import type { TunnelContext } from "./context.ts";
import { Leg } from "./leg.ts";
import { OwnStreams } from "./own_streams.ts";
import { Tunnel } from "./tunnel.ts";

/** Calls of one client connection at a time, unless the backend takes fewer. */
const MAX_CALLS = 1000;
/** How long the client has to answer the PING between the two GOAWAYs, in milliseconds. */
const DRAIN_PING_MS = 1000;
/** How long a client that broke the rules has to read why it is left, in milliseconds. */
const LINGER_MS = 1000;

const log = getLogger("grpc");

/** One client connection. */
export class TunnelConnection implements Served, Timed {
  deadline = Infinity;
  readonly #context: TunnelContext;
  readonly #options: H2Options;
  readonly #client: Leg;
  readonly #tunnel: Tunnel;
  readonly #own: OwnStreams;
  readonly #frames: ClientFrames;
  readonly #link: BackendLink;
  #goodbye: Promise<void> | undefined;
  #drainsWhenReady = false;

  /** Takes a connection over. */
  constructor(duplex: Duplex, context: TunnelContext) {
    this.#context = context;
    const { calls } = context;
    const options = this.#options = {
      ...DEFAULT_H2_OPTIONS,
      maxConcurrentStreams: MAX_CALLS,
      ...calls.h2,
    };
    const { clock, metrics } = calls;
    const address = duplex.remote.hostname;
    const client = this.#client = new Leg({
      duplex,
      clock,
      options,
      onWritten: () => this.#own.pump(),
    });
    const tunnel = this.#tunnel = new Tunnel({
      client,
      address,
      options,
      metrics,
      now: () => clock.now(),
      onIdle: () => this.#link.onIdle(),
      onChange: () => this.#onChange(),
    });
    this.#own = new OwnStreams(tunnel, calls, {
      mode: calls.forwarded,
      trusted: calls.forwarded !== "off" && calls.isTrusted(address),
      client: { address, scheme: "http" },
      authority: formatHostPort(duplex.local.hostname, duplex.local.port),
    });
    const link = this.#link = new BackendLink(tunnel, context);
    this.#frames = new ClientFrames({
      tunnel,
      own: this.#own,
      context: calls,
      address,
      binder: link,
    });
    this.#greet();
  }

  #greet(): void {
    const { maxConcurrentStreams, fields } = this.#options;
    this.#client.tell(this.#client.outlet.writer, [
      [Setting.MaxConcurrentStreams, maxConcurrentStreams],
      [Setting.MaxHeaderListSize, fields.maxListSize],
    ], { forwarded: false, lowered: 0 });
  }

  async serve(): Promise<void> {
    const { calls: { clock, metrics }, onBackends } = this.#context;
    const client = this.#client;
    const tunnel = this.#tunnel;
    clock.watch(this);
    clock.arm(this, this.#options.settingsTimeout);
    const stop = onBackends(() => this.#link.onBackends());
    const { keepaliveTime, maxAge } = this.#options;
    if (keepaliveTime < Infinity) client.keepalive = this.#makeKeepalive();
    client.keepalive?.begin();
    const age = maxAge < Infinity ? new Age(tunnel, clock, this.#options) : undefined;
    age?.begin();
    try {
      if (await this.#readPreface()) {
        await client.pump(this.#frames, () => tunnel.streams === 0);
        await this.#goodbye;
      }
    } finally {
      stop();
      age?.end();
      tunnel.end();
      clock.unwatch(this);
      client.duplex.close();
      await this.#link.close();
      client.end();
      metrics.bytesReceived += client.reader.bytesRead;
      metrics.bytesSent += client.outlet.bytesWritten;
      metrics.closed(client.outlet.expired ? "write_timeout" : tunnel.reason);
      if (tunnel.error !== undefined) {
        log.debug("a connection broke the protocol", {
          client: client.duplex.remote.hostname,
          detail: tunnel.error.detail,
        });
      }
    }
  }

  #makeKeepalive(): Keepalive {
    const tunnel = this.#tunnel;
    const client = this.#client;
    return new Keepalive({
      clock: this.#context.calls.clock,
      options: this.#options,
      reader: client.reader,
      outbox: client.outlet,
      peer: client,
      streams: () => tunnel.streams,
      closing: tunnel,
    });
  }

  async #readPreface(): Promise<boolean> {
    const { reader } = this.#client;
    for (;;) {
      const match = matchPreface(reader.buffer, reader.start, reader.end);
      if (match === "match") {
        reader.start += CLIENT_PREFACE.length;
        return true;
      }
      if (match === "mismatch") {
        this.#tunnel.violates(H2Code.ProtocolError, "no connection preface");
        return true;
      }
      if (!await reader.fill()) return false;
    }
  }

  /** Something has changed that decides what is waited for. */
  #onChange(): void {
    const { calls: { clock } } = this.#context;
    const { phase, streams, closed, error } = this.#tunnel;
    if (closed) {
      if (this.#goodbye !== undefined) return;
      clock.arm(this, error === undefined ? this.#options.writeTimeout : LINGER_MS);
      this.#goodbye = this.#sayGoodbye();
      this.#tunnel.loseCalls();
      this.#own.lose();
      void this.#link.close();
    } else if (this.#client.ready) {
      if (this.#drainsWhenReady && phase === "open") this.#tunnel.drain();
      else if (phase === "announced") clock.arm(this, DRAIN_PING_MS);
      else if (streams === 0) clock.arm(this, this.#options.idleTimeout);
    }
  }

  /** Lets what is framed leave and ends our side. The deadline closes the socket if the client does not. */
  async #sayGoodbye(): Promise<void> {
    const { outlet, duplex } = this.#client;
    await outlet.finish();
    try {
      await duplex.closeWrite();
    } catch {
      // The client has gone; there is nobody to say goodbye to.
      duplex.close();
    }
  }

  onDeadline(): void {
    const tunnel = this.#tunnel;
    if (tunnel.closed) return this.#client.duplex.close();
    if (this.#drainsWhenReady && tunnel.phase === "open") tunnel.drain("drain_idle_timeout");
    else if (!this.#client.ready) {
      tunnel.reason = "settings_timeout";
      tunnel.violates(H2Code.SettingsTimeout, "no SETTINGS in time");
    } else if (tunnel.phase === "announced") tunnel.onRoundTrip();
    else if (tunnel.streams === 0) tunnel.drain("idle_timeout");
  }

  drain(idle = 0): void {
    if (idle === 0 || this.#client.ready) return this.#tunnel.drain();
    this.#drainsWhenReady = true;
    this.#context.calls.clock.arm(this, Math.min(idle, this.#options.settingsTimeout));
  }

  abort(): void {
    this.#tunnel.abort();
  }
}
