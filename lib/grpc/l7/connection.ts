/**
 * One client connection of a gRPC balancer. At layer 7 each of its streams goes its own way; at layer 4
 * all go to the backend that the first was given to.
 *
 * @module
 */
import { formatHostPort } from "../../common/address.ts";
import type { Duplex } from "../../common/duplex.ts";
import type { Forwarding } from "../../http/forwarded.ts";
import { H2Connection } from "../../http/h2/connection.ts";
import type { Served } from "../../mux/listener.ts";
import { getLogger } from "../../observe/logger.ts";
import { type Binding, GrpcCall } from "./call.ts";
import type { GrpcContext } from "./context.ts";

/**
 * Calls of one client connection at a time. More than the 100 that are usual for web pages: all calls of
 * a client share a connection, and streams may stay open for days. What they hold is bounded by
 * the connection's window.
 */
const MAX_CALLS = 1000;

const log = getLogger("grpc");

/** One client connection. */
export class GrpcConnection implements Served {
  readonly #context: GrpcContext;
  readonly #duplex: Duplex;
  readonly #h2: H2Connection;

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
    const binding: Binding | undefined = context.bound ? { backend: undefined } : undefined;
    this.#h2 = new H2Connection({
      role: "server",
      duplex,
      clock: context.clock,
      options: { maxConcurrentStreams: MAX_CALLS, ...context.h2 },
      handler: {
        onRequest: (stream, head, { endStream, refused }) =>
          new GrpcCall(context, { stream, head, forwarding, endStream, refused, binding })
            .fromClient,
        onAbuse: (token) => {
          context.metrics.refused(token);
          log.warning("a client was cut off", { client: address, reason: token });
        },
      },
    });
  }

  async serve(): Promise<void> {
    const { metrics } = this.#context;
    await this.#h2.run();
    metrics.bytesReceived += this.#h2.bytesRead;
    metrics.bytesSent += this.#h2.bytesWritten;
    if (this.#h2.error !== undefined) {
      log.debug("a connection broke the protocol", {
        client: this.#duplex.remote.hostname,
        detail: this.#h2.error.detail,
      });
    }
  }

  drain(): void {
    this.#h2.drain();
  }

  abort(): void {
    this.#h2.abort();
  }
}
