/**
 * The admin listener: management, metrics and the state of one balancer, apart from its traffic.
 *
 * | path                                | answer                                          | who      |
 * | ----------------------------------- | ----------------------------------------------- | -------- |
 * | `/lb/add`, `/lb/backends`, …        | management                                      | policy   |
 * | `/metrics`                          | Prometheus text                                 | policy * |
 * | `/healthz`                          | 200 while the process works                     | everyone |
 * | `/readyz`                           | 200 while requests are served, 503 otherwise    | everyone |
 * | `/readyz?service=pkg.Service`       | the same for one gRPC service, 404 if unknown   | everyone |
 *
 * "Policy" is the access policy of the balancer: callers on this machine or in an allowed network, and
 * bearers of the token. * With `openMetrics`, metrics are for everyone who reaches the port: they name
 * the addresses of backends, so they are not by default.
 *
 * @module
 */

import type { ListenAddress } from "../common/address.ts";
import type { PeerAddress } from "../common/duplex.ts";
import { describeError } from "../common/errors.ts";
import { VERSION } from "../common/version.ts";
import { type ListeningSocket, openSocket } from "../mux/listening_socket.ts";
import { getLogger } from "../observe/logger.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { PrometheusExporter } from "../observe/prometheus.ts";
import { describeGauges } from "./gauges.ts";
import type { ManagementApi } from "./http_api.ts";
import type { Management } from "./management.ts";
import { assessReadiness, describePhase, type ServingPhase } from "./readiness.ts";
import { json, problemResponse } from "./responses.ts";

/** What an {@linkcode AdminServer} needs of a balancer. */
export interface AdminSubject {
  /** The name under which the balancer counts. */
  readonly name: string;
  /** Its backends and routes. */
  readonly management: Management;
  /** Answers management requests. */
  readonly managementApi: ManagementApi;
  /** Its counters. */
  readonly metrics: Metrics;
  /** How far it is. */
  readonly phase: ServingPhase;
}

/** How an {@linkcode AdminServer} is made. */
export interface AdminOptions {
  /** Where to listen; port 0 lets the system choose. */
  readonly address: ListenAddress;
  /** The file of an inherited Unix socket that is to be removed at the end. */
  readonly file?: string | undefined;
  /** Let everyone who reaches the port read the metrics. Default `false`. */
  readonly openMetrics?: boolean;
  /**
   * Whether requests reach the balancer by its `fetch`, so that it is ready without a listener. Default `false`.
   */
  readonly embedded?: boolean;
  /** How long {@linkcode AdminServer.shutdown} waits for answers under way, in milliseconds. Default 5,000. */
  readonly grace?: number;
}

/** How long the listener is left alone after it failed, in milliseconds. */
const PAUSE_MS = 200;
const DEFAULT_GRACE = 5_000;
/** How long requests on connections that were accepted already have to arrive, in milliseconds. */
const ARRIVAL_MS = 100;
/** Names of services in answers are quoted up to this length, in UTF-16 code units. */
const MAX_QUOTE = 120;

const INDEX = `lb: the admin listener

  POST   /lb/add                    add a backend
  GET    /lb/backends               list the backends
  GET    /lb/backends/{id}          show one, by id or address
  PATCH  /lb/backends/{id}          {"weight": N}
  POST   /lb/backends/{id}/drain    pick it no more
  DELETE /lb/backends/{id}          remove it
  GET    /lb/routes                 list the routes
  GET    /lb/routes/{id}            show one
  DELETE /lb/routes/{id}            remove it
  GET    /metrics                   metrics for Prometheus
  GET    /healthz                   whether the process works
  GET    /readyz                    whether requests can be served
  GET    /readyz?service=NAME       whether calls of a gRPC service can be served
`;

const log = getLogger("admin");

/** Listens, and listens again when the runtime's server ends for want of descriptors. */
export class AdminServer {
  readonly #subject: AdminSubject;
  readonly #options: AdminOptions;
  readonly #finished: Promise<void>;
  /** Where it listens, with the port that the system chose. */
  readonly addr: Deno.Addr;
  readonly #abort = new AbortController();
  readonly #answers = new Set<Promise<void>>();
  #socket: ListeningSocket<Deno.HttpServer>;
  #exporter: Promise<PrometheusExporter> | undefined;
  #draining = false;
  #shutdown: Promise<void> | undefined;
  #wake: (() => void) | undefined;

  /**
   * Begins to listen.
   *
   * @throws {Deno.errors.AddrInUse} When the address is taken, and what else `Deno.serve` throws.
   * @throws {SocketError} When an inherited socket cannot be listened on.
   */
  constructor(subject: AdminSubject, options: AdminOptions) {
    this.#subject = subject;
    this.#options = options;
    this.#socket = this.#listen(options.address);
    this.addr = this.#socket.addr;
    this.#finished = this.#supervise();
  }

  /** Resolves when it has ended. */
  get finished(): Promise<void> {
    return this.#finished;
  }

  /** Says from now on that the balancer is not ready: it is about to end. */
  drain(): void {
    this.#draining = true;
  }

  /** Another descriptor of the socket, for a process that is to listen on it too; see {@linkcode ListeningSocket.share}. */
  share(): number {
    return this.#socket.share();
  }

  /**
   * Lets answers under way finish for a while, then ends.
   *
   * @param passedOn Another process listens on the socket by now and gets what comes.
   */
  shutdown(passedOn = false): Promise<void> {
    return this.#shutdown ??= this.#end(passedOn);
  }

  async #end(passedOn: boolean): Promise<void> {
    this.#draining = true;
    this.#wake?.();
    if (passedOn) {
      this.#socket.detach();
      await new Promise((resolve) => setTimeout(resolve, ARRIVAL_MS));
    }
    const expired = Promise.withResolvers<void>();
    const timer = setTimeout(expired.resolve, this.#options.grace ?? DEFAULT_GRACE);
    await Promise.race([Promise.all(this.#answers), expired.promise]);
    clearTimeout(timer);
    // Not `shutdown()` of the runtime's server: it waits without bound for clients that never end their
    // request, and once it was called, aborting throws where nobody can catch it.
    this.#abort.abort();
    await this.#finished;
    this.#socket.release(passedOn);
  }

  #listen(address: ListenAddress): ListeningSocket<Deno.HttpServer> {
    const options = { signal: this.#abort.signal, onListen: () => {} };
    const handler = (request: Request, info: Deno.ServeHandlerInfo<Deno.Addr>) => {
      this.#track(info.completed);
      return this.#answer(request, peerOf(info.remoteAddr));
    };
    return openSocket<Deno.HttpServer>(address, {
      tcp: (where) => Deno.serve({ ...options, ...where }, handler),
      unix: (path) => Deno.serve({ ...options, path }, handler),
      close: (server) => void server.shutdown(),
    }, { file: this.#options.file });
  }

  /** Keeps an answer in mind until it is sent, or its client has gone. */
  #track(completed: Promise<void>): void {
    const answer: Promise<void> = completed.catch(() => {
      // The client has gone, and with it whatever could be told.
    }).then(() => void this.#answers.delete(answer));
    this.#answers.add(answer);
  }

  // Out of descriptors, `finished` of `Deno.serve` rejects and the port is closed.
  async #supervise(): Promise<void> {
    for (;;) {
      try {
        await this.#socket.value.finished;
      } catch (error) {
        log.warning("the admin listener failed; it is started again", {
          error: describeError(error),
        });
      }
      while (this.#shutdown === undefined) {
        await this.#pause();
        if (this.#restart()) break;
      }
      if (this.#shutdown !== undefined) return;
    }
  }

  #restart(): boolean {
    if (this.#shutdown !== undefined) return false;
    const { address } = this.#options;
    const { addr } = this;
    try {
      // An inherited socket is kept all along.
      if (address.transport !== "fd") this.#socket.release(false);
      this.#socket = this.#listen(
        address.transport === "tcp" && addr.transport === "tcp"
          ? { ...address, port: addr.port }
          : address,
      );
      log.info("the admin listener works again");
      return true;
    } catch (error) {
      log.debug("the admin listener could not be started", { error: describeError(error) });
      return false;
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, PAUSE_MS);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #answer(request: Request, remote: PeerAddress): Promise<Response> {
    const { managementApi } = this.#subject;
    const { pathname, searchParams } = new URL(request.url);
    if (managementApi.claims(pathname)) return await managementApi.handle(request, remote);
    const answer = this.#find(pathname, searchParams, { request, remote });
    if (answer === undefined) {
      return problemResponse(404, "not_found", "There is nothing here; see / for what there is.");
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      const response = problemResponse(405, "method_not_allowed", "Only GET is possible here.");
      response.headers.set("Allow", "GET, HEAD");
      return response;
    }
    try {
      return await answer();
    } catch (error) {
      log.error("an admin request failed", { path: pathname, error: describeError(error) });
      return problemResponse(500, "internal", "The load balancer failed.");
    }
  }

  #find(
    path: string,
    query: URLSearchParams,
    { request, remote }: { readonly request: Request; readonly remote: PeerAddress },
  ): (() => Response | Promise<Response>) | undefined {
    switch (path) {
      case "/":
        return () => new Response(INDEX, { headers: { "Content-Type": "text/plain" } });
      case "/healthz":
        return () => json(200, { status: "ok" });
      case "/readyz":
        return () => this.#readiness(query.get("service") ?? "");
      case "/metrics":
        return () => this.#metrics(request, remote);
      default:
        return undefined;
    }
  }

  get #phase(): ServingPhase {
    if (this.#draining) return "leaving";
    const { phase } = this.#subject;
    return phase === "stopped" && this.#options.embedded === true ? "serving" : phase;
  }

  /** What `grpc.health.v1` of the balancer says, for those who cannot speak gRPC. */
  async #readiness(service: string): Promise<Response> {
    if (service !== "") return await this.#serviceReadiness(service);
    const readiness = assessReadiness(this.#subject.management, this.#phase);
    return json(readiness.status === "ready" ? 200 : 503, readiness);
  }

  async #serviceReadiness(service: string): Promise<Response> {
    const { health } = this.#subject.management;
    const name = JSON.stringify(service.slice(0, MAX_QUOTE));
    if (health === undefined) {
      return problemResponse(
        404,
        "not_found",
        `service: ${name} is asked for, and this balancer has no gRPC services`,
        "service",
      );
    }
    const status = await health.find(service);
    if (status === undefined) {
      const detail = `service: no backend is known to serve ${name}`;
      return problemResponse(404, "not_found", detail, "service");
    }
    const reason = describePhase(this.#phase) ??
      (status === "SERVING" ? undefined : "no backend that has the service can be used");
    return json(reason === undefined ? 200 : 503, {
      status: reason === undefined ? "ready" : "not ready",
      reason,
      service,
    });
  }

  async #metrics(request: Request, remote: PeerAddress): Promise<Response> {
    const { managementApi, management, metrics, name } = this.#subject;
    if (this.#options.openMetrics !== true) {
      const refusal = managementApi.authorize(request, remote);
      if (refusal !== undefined) return refusal;
    }
    const exporter = await this.#loadExporter();
    const listener = metrics.listener(name);
    for (const { id, connections } of management.listBackends()) {
      listener.upstream(id).idle = connections.idle;
    }
    return new Response(await exporter.render(), {
      headers: { "Content-Type": exporter.contentType, "Cache-Control": "no-store" },
    });
  }

  async #loadExporter(): Promise<PrometheusExporter> {
    try {
      return await (this.#exporter ??= this.#makeExporter());
    } catch (error) {
      // Loading needs a descriptor, and there may be one at the next scrape.
      this.#exporter = undefined;
      throw error;
    }
  }

  async #makeExporter(): Promise<PrometheusExporter> {
    const { PrometheusExporter } = await import("../observe/prometheus.ts");
    const { metrics, management } = this.#subject;
    return new PrometheusExporter(metrics, {
      version: VERSION,
      gauges: () => describeGauges(management),
    });
  }
}

function peerOf(addr: Deno.Addr): PeerAddress {
  return addr.transport === "tcp" || addr.transport === "udp"
    ? { hostname: addr.hostname, port: addr.port }
    : { hostname: "unix", port: 0 };
}
