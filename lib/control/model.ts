/**
 * What management is asked and what it answers, whether over HTTP, gRPC or in the process.
 *
 * @module
 */

import type { BackendState } from "../backend/backend.ts";
import type { RouteMatch } from "../route/route.ts";
import type { Conditions } from "./conditions.ts";

/** Whoever makes a call, for the log and for those that register themselves. */
export interface Caller {
  /** The IP address of the peer; `unix` for a Unix socket. */
  readonly hostname: string;
}

/** A backend for the default pool of a balancer at layer 4. */
export interface AddL4Request {
  /** Its address; without it the caller registers itself. */
  readonly addr?: string;
  /** The port of a caller that registers itself, 1 to 65535; the configured default unless given. */
  readonly port?: number;
  /** Its share, an integer from 0 to 65535; 1 unless given, or what it has. */
  readonly weight?: number;
}

/** A backend with the requests that it is for, of a balancer at layer 7. */
export interface AddL7Request extends Conditions {
  /** Its address, e.g. `http://localhost:8083`. */
  readonly backend_addr: string;
  /** Its share, an integer from 0 to 65535; 1 unless given, or what it has. */
  readonly weight?: number;
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
  /** Its pooled HTTP connections. */
  readonly connections: {
    /** Those that wait for a request. */
    readonly idle: number;
    /** Those that carry one or are being opened. */
    readonly active: number;
  };
}

/** A target of a route as it is now. */
export interface TargetInfo {
  /** The id of the backend. */
  readonly id: string;
  /** Its address. */
  readonly addr: string;
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
}
