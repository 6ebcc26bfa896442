/**
 * The messages of `proto/lb.proto` as objects, and what they mean to management.
 *
 * @module
 */
import { ManagementError } from "./management_error.ts";
import type { AddL4Request, AddL7Request, BackendInfo, RouteInfo } from "./model.ts";

/** `lb.AddL4Request`: what is not set is absent. */
export interface WireAddL4 {
  readonly addr?: string;
  readonly weight?: number;
  readonly port?: number;
  readonly discover_services?: boolean;
}

/** `lb.AddL7Request`: lists and maps are always there. */
export interface WireAddL7 {
  readonly backend_addr?: string;
  readonly weight?: number;
  readonly services: readonly string[];
  readonly methods: readonly string[];
  readonly full_methods: readonly string[];
  readonly grpc_headers: Readonly<Record<string, string>>;
  readonly paths: readonly string[];
  readonly headers: Readonly<Record<string, string>>;
  readonly params: Readonly<Record<string, string>>;
  readonly discover_services?: boolean;
}

/** `lb.Backend` */
export interface BackendMessage {
  readonly id: string;
  readonly addr: string;
  readonly state: "ACTIVE" | "DRAINING" | "REMOVED";
  readonly weight?: number;
  readonly in_flight: number;
  readonly routes: readonly string[];
  readonly names: readonly string[];
  readonly addresses: readonly string[];
  readonly discovery?: { readonly known: boolean; readonly services: number };
  readonly health: {
    readonly state: "HEALTHY" | "FAILING" | "EJECTED" | "UNREACHABLE";
    readonly reason: string;
    readonly ejections: number;
  };
}

/** `lb.Route` */
export interface RouteMessage {
  readonly id: string;
  readonly rule: string;
  readonly targets: readonly {
    readonly id: string;
    readonly addr: string;
    readonly weight: number;
    readonly state: BackendMessage["state"];
    readonly name?: string;
  }[];
  readonly registered: boolean;
  readonly origin: "WRITTEN" | "REGISTERED" | "DISCOVERED";
}

/** `lb.Conflict` */
export interface ConflictMessage {
  readonly file: string;
  readonly backends: readonly string[];
}

/** `lb.Change` */
export interface ChangeMessage {
  readonly kind: "ADDED" | "CHANGED" | "REMOVED" | "SYNCED";
  readonly backend?: BackendMessage;
  readonly route?: RouteMessage;
}

/** What a backend for the default pool is. */
export function parseAddL4({ addr, weight, port, discover_services }: WireAddL4): AddL4Request {
  return {
    ...(addr === undefined ? {} : { addr }),
    ...(weight === undefined ? {} : { weight }),
    ...(port === undefined ? {} : { port }),
    ...(discover_services === undefined ? {} : { discover_services }),
  };
}

/**
 * What a backend with conditions is.
 *
 * @throws {ManagementError} `invalid_argument` when the address is missing.
 */
export function parseAddL7(message: WireAddL7): AddL7Request {
  const { backend_addr, weight, discover_services } = message;
  if (backend_addr === undefined) {
    throw new ManagementError(
      "invalid_argument",
      'it is missing; accepted is an address such as "localhost:50055"',
      "backend_addr",
    );
  }
  const { services, methods, full_methods, grpc_headers, paths, headers, params } = message;
  return {
    backend_addr,
    ...(weight === undefined ? {} : { weight }),
    ...(discover_services === undefined ? {} : { discover_services }),
    services,
    methods,
    full_methods,
    grpc_headers,
    paths,
    headers,
    params,
  };
}

/** A backend as it is sent. */
export function encodeBackend(info: BackendInfo): BackendMessage {
  const { id, addr, state, weight, in_flight, routes, discovery, health } = info;
  const { names = [], addresses = [] } = info;
  return {
    id,
    addr,
    state: encodeState(state),
    ...(weight === null ? {} : { weight }),
    in_flight,
    routes,
    names,
    addresses,
    health: {
      state: health.state.toUpperCase() as BackendMessage["health"]["state"],
      reason: health.reason ?? "",
      ejections: health.ejections,
    },
    ...(discovery === undefined ? {} : {
      discovery: { known: discovery.state === "known", services: discovery.services },
    }),
  };
}

/** A route as it is sent. */
export function encodeRoute(
  { id, rule, targets, registered, origin }: RouteInfo,
): RouteMessage {
  return {
    id,
    rule,
    targets: targets.map((target) => ({ ...target, state: encodeState(target.state) })),
    registered,
    origin: origin.toUpperCase() as RouteMessage["origin"],
  };
}

function encodeState(state: BackendInfo["state"]): BackendMessage["state"] {
  return state.toUpperCase() as BackendMessage["state"];
}
