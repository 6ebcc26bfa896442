/**
 * What management is asked and what it answers, whether over HTTP, gRPC or in the process.
 *
 * @module
 */

import type { BackendState } from "../backend/backend.ts";
import type { Scheme } from "../common/address.ts";
import type { RouteMatch } from "../route/route.ts";
import type { Conditions } from "./conditions.ts";

/** Whoever makes a call, for the log and for those that register themselves. */
export interface Caller {
  /** The IP address of the peer; `unix` for a Unix socket. */
  readonly hostname: string;
}

/** How the log calls whoever made a change. */
export function nameOf(caller: Caller | undefined): string {
  return caller?.hostname ?? "this process";
}

/** A backend for the default pool of a balancer at layer 4. */
export interface AddL4Request {
  /** Its address, or the name of some; without it the caller registers itself. */
  readonly addr?: string;
  /** The port of a caller that registers itself, 1 to 65535; the configured default unless given. */
  readonly port?: number;
  /** Its share, an integer from 0 to 65535; 1 unless given, or what it has. */
  readonly weight?: number;
  /** As {@linkcode AddL7Request.discover_services}. */
  readonly discover_services?: boolean;
}

/** A backend with the requests that it is for, of a balancer at layer 7. */
export interface AddL7Request extends Conditions {
  /** Its address, e.g. `http://localhost:8083`, or the name of some, e.g. `dns+http://api.internal:8080`. */
  readonly backend_addr: string;
  /** Its share, an integer from 0 to 65535; 1 unless given, or what it has. */
  readonly weight?: number;
  /**
   * Whether its services are read from its reflection and routed to it, on a gRPC balancer at layer 7; as the
   * balancer does with all backends unless given, or what was given before.
   */
  readonly discover_services?: boolean;
}

/** What adding answers. */
export interface AddResult {
  /** The id of the backend. */
  readonly id: string;
  /** Its address in its normal form. */
  readonly addr: string;
  /** `false` when it was there already. */
  readonly created: boolean;
  /** The id of the route that leads to it, if it came with conditions. */
  readonly route_id?: string;
}

/** A backend as it is now. */
export interface BackendInfo {
  /** The id. */
  readonly id: string;
  /** The address in its normal form. */
  readonly addr: string;
  /** The names that stand for it; absent when none does. */
  readonly names?: readonly string[];
  /** Of a name, whose `addr` is the name: the addresses that it stands for now. Absent of a backend. */
  readonly addresses?: readonly string[];
  /** Where it stands. */
  readonly state: BackendState;
  /** Its share in the default pool; `null` when it is not in it. */
  readonly weight: number | null;
  /** Requests, or connections at layer 4, that it serves now. */
  readonly in_flight: number;
  /** Whether it is in the default pool. */
  readonly pool: boolean;
  /** The ids of the routes that it is a target of. */
  readonly routes: readonly string[];
  /** Its pooled connections, those of HTTP/2 included. */
  readonly connections: {
    /** Those that wait for a request or a call. */
    readonly idle: number;
    /** Those that carry any or are being opened. */
    readonly active: number;
  };
  /** Whether it is fit to be picked. */
  readonly health: {
    /**
     * `failing`: its health checks fail; `ejected`: too many requests to it have failed; `unreachable`: no connection
     * to it could be opened.
     */
    readonly state: "healthy" | "failing" | "ejected" | "unreachable";
    /** Why it is not healthy, for people; absent when it is. */
    readonly reason?: string;
    /** How often it was ejected. */
    readonly ejections: number;
    /** Seconds, rounded up, until it is tried again; absent unless it is ejected. */
    readonly seconds_left?: number;
  };
  /** What is known of its services; absent unless they are to be discovered. */
  readonly discovery?: {
    /** Whether its reflection has ever been read: until then it gets calls of services that nobody lists. */
    readonly state: "pending" | "known";
    /** How many services were found and are routed to it. */
    readonly services: number;
  };
}

/** A set of backends that requests are spread over. */
export interface PoolInfo {
  /** `default`, or the id of the route whose targets it has; `unlisted` for calls of services that nobody lists. */
  readonly pool: string;
  /** The protocol: `http`, `grpc` or `tcp`. */
  readonly protocol: Scheme;
  /** Whether so few of its backends are healthy that all are picked. */
  readonly panics: boolean;
}

/** A target of a route as it is now. */
export interface TargetInfo {
  /** The id of the backend. */
  readonly id: string;
  /** Its address. */
  readonly addr: string;
  /** The name that it is there for; absent when the route has its address. */
  readonly name?: string;
  /** Its share among the targets. */
  readonly weight: number;
  /** Where it stands. */
  readonly state: BackendState;
}

/** A route as it is now. */
export interface RouteInfo {
  /** The id. */
  readonly id: string;
  /** The rule as the command line takes it. */
  readonly rule: string;
  /** The conditions. */
  readonly match: RouteMatch;
  /** Where it leads. */
  readonly targets: readonly TargetInfo[];
  /** Whether it was made by a backend at run time, and so leaves with its last target. */
  readonly registered: boolean;
  /**
   * Whose it is: `written` by somebody, `registered` by backends at run time, or `discovered` in the reflection
   * of backends, in which case it leaves when none of them lists the service any more.
   */
  readonly origin: "written" | "registered" | "discovered";
}

/** What is known of the health of services. */
export interface HealthInfo {
  /**
   * The health of a service, or of the whole under the empty name; `undefined` for a service that nobody is
   * known to have. Bounded in time.
   */
  find(service: string): Promise<"SERVING" | "NOT_SERVING" | undefined>;
}

/** What is known of backends by their reflection. */
export interface ReflectionInfo {
  /** The files that backends define differently, and the addresses of these backends. */
  conflicts(): readonly { readonly file: string; readonly backends: readonly string[] }[];
  /** How often each backend whose services are to be discovered could not be asked for them, by its id. */
  failures(): Iterable<readonly [backend: string, count: number]>;
}
