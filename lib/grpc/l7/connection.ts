/**
 * One HTTP/2 connection of a client, each of whose streams goes its own way. Where HTTP is balanced on the same
 * port, the content type tells calls from other requests.
 *
 * @module
 */
import { formatHostPort } from "../../common/address.ts";
import type { Duplex } from "../../common/duplex.ts";
import type { Forwarding } from "../../http/forwarded.ts";
import { H2Connection } from "../../http/h2/connection.ts";
import { H2Code } from "../../http/h2/errors.ts";
import { DEFAULT_H2_OPTIONS } from "../../http/h2/options.ts";
import type { StreamListener } from "../../http/h2/stream.ts";
import { H2Exchange, type H2Http, type H2Request } from "../../http/l7/h2_exchange.ts";
import type { Idleness } from "../../mux/idle_shedding.ts";
import type { Served } from "../../mux/listener.ts";
import { getLogger } from "../../observe/logger.ts";
import { SampledLog } from "../../observe/sampled_log.ts";
import { GrpcCall } from "./call.ts";
import type { GrpcContext } from "./context.ts";

/**
 * Calls of one client connection at a time. More than the 100 that are usual for web pages: all calls of
 * a client share a connection, and streams may stay open for days.
 */
const MAX_CALLS = 1000;
/**
 * Bytes that one client connection may have on the way in: those of 256 calls whose backends take nothing. With the
 * window of a few, the calls that do not get on would stop those that could; with that of all, one connection could
 * make us hold 62 MiB.
 */
const CONNECTION_WINDOW = 256 * DEFAULT_H2_OPTIONS.streamWindow;
/**
 * Requests of one connection at a time that are translated to HTTP/1.1, until nothing is done for them any more;
 * what is above that is refused with REFUSED_STREAM, so that it can be sent again. Each may hold buffers of
 * its own, so this bounds what one connection holds to some 40 MiB when its client reads nothing of answers
 * that are all large.
 */
const MAX_EXCHANGES = 250;

const log = getLogger("grpc");
const cutOff = new SampledLog(log, {
  message: "a client was cut off",
  by: ["client", "reason"],
});

/** One client connection. */
export class GrpcConnection implements Served {
  readonly #context: GrpcContext;
  readonly #duplex: Duplex;
  readonly #h2: H2Connection;
  /** How many requests are translated to HTTP/1.1. */
  #exchanges = 0;
  #idle: (() => void) | undefined;

  /** Takes a connection over. */
  constructor(duplex: Duplex, context: GrpcContext) {
    this.#context = context;
    this.#duplex = duplex;
    const address = duplex.remote.hostname;
    const forwarding: Forwarding = {
      mode: context.forwarded,
      trusted: context.forwarded !== "off" && context.isTrusted(address),
      client: { address, scheme: "http" },
      authority: formatHostPort(duplex.local.hostname, duplex.local.port),
    };
    this.#h2 = new H2Connection({
      role: "server",
      duplex,
      clock: context.clock,
      options: {
        maxConcurrentStreams: MAX_CALLS,
        connectionWindow: CONNECTION_WINDOW,
        ...context.h2,
      },
      handler: {
        onRequest: (stream, head, { endStream, refused }) => {
          const { http } = context;
          // `application/grpc` and its kin are calls; gRPC-Web is ordinary HTTP.
          if (http !== undefined && !head.grpc) {
            return this.#exchange(http, { stream, head, endStream, refused, carrier: duplex });
          }
          return new GrpcCall(context, { stream, head, forwarding, endStream, refused });
        },
        onExcess: () => context.metrics.refused("too_many_streams"),
        onAbuse: (token) => {
          context.metrics.refused(token);
          cutOff.warning({ client: address, reason: token });
        },
      },
    });
  }

  #exchange(http: H2Http, request: H2Request): StreamListener {
    if (this.#exchanges >= MAX_EXCHANGES) {
      http.context.metrics.refused("too_many_streams");
      request.stream.reset(H2Code.RefusedStream);
      return IGNORE;
    }
    const exchange = new H2Exchange(http, request);
    this.#exchanges++;
    void exchange.finished.then(() => {
      if (--this.#exchanges === 0) this.#idle?.();
    });
    return exchange;
  }

  async serve(): Promise<void> {
    const { metrics } = this.#context;
    await this.#h2.run();
    if (this.#exchanges > 0) await new Promise<void>((resolve) => this.#idle = resolve);
    metrics.bytesReceived += this.#h2.bytesRead;
    metrics.bytesSent += this.#h2.bytesWritten;
    metrics.closed(this.#h2.closeReason);
    if (this.#h2.error !== undefined) {
      log.debug("a connection broke the protocol", {
        client: this.#duplex.remote.hostname,
        detail: this.#h2.error.detail,
      });
    }
  }

  idleness(): Idleness | undefined {
    const { idleTime: time, used } = this.#h2;
    return time === undefined ? undefined : { time, used };
  }

  drain(idle?: number): void {
    this.#h2.drain(idle);
  }

  abort(): void {
    this.#h2.abort();
  }
}

const IGNORE: StreamListener = {
  onHead() {},
  onData() {},
  onTrailers() {},
  onReset() {},
  onSent() {},
};
