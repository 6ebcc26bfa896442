/**
 * For which protocol a backend or a route is, where one balancer has two.
 *
 * @module
 */
import type { Scheme } from "../common/address.ts";
import { normalizeTarget, schemeOf } from "../common/dns_name.ts";
import type { Route, RouteMatch } from "../route/route.ts";

/** A protocol that requests are told apart by. */
export type Protocol = "http" | "grpc";

const PROTOCOLS: Partial<Record<Scheme, Protocol>> = {
  http: "http",
  https: "http",
  grpc: "grpc",
  grpcs: "grpc",
};
/** How a protocol is called in messages. */
const NAMES: Readonly<Record<Protocol, string>> = { http: "HTTP", grpc: "gRPC" };

/**
 * The protocol of a rule. The schemes of its targets decide, then its conditions: of services, methods and metadata
 * for gRPC, any other for HTTP, and so do redirects. `undefined` when nothing does.
 *
 * @throws {TypeError} When they contradict each other, or an address is not valid.
 */
export function protocolOfRoute(
  route: Pick<Route, "match" | "targets" | "redirect">,
): Protocol | undefined {
  const { match, targets, redirect } = route;
  const condition = grpcCondition(match);
  let named: { readonly protocol: Protocol; readonly addr: string } | undefined;
  for (const { addr } of targets) {
    const protocol = PROTOCOLS[schemeOf(addr)];
    if (protocol === undefined) continue;
    const text = normalizeTarget(addr);
    if (named !== undefined && named.protocol !== protocol) {
      throw new TypeError(
        `targets ${named.addr} and ${text}: they are for ${NAMES[named.protocol]} and for ` +
          `${NAMES[protocol]}; accepted is one of both in a route`,
      );
    }
    named = { protocol, addr: text };
  }
  if (condition !== undefined && (named?.protocol === "http" || redirect !== undefined)) {
    throw new TypeError(
      `${condition} matches gRPC calls only, ` +
        (named === undefined
          ? "which cannot be redirected; accepted is a target"
          : `and ${named.addr} is for HTTP; accepted is grpc://, grpcs:// or an address without scheme`),
    );
  }
  if (named !== undefined) return named.protocol;
  if (condition !== undefined) return "grpc";
  return redirect !== undefined || hasConditions(match) ? "http" : undefined;
}

/** The first kind of condition that only gRPC calls can meet. */
function grpcCondition(match: RouteMatch): string | undefined {
  const kinds = [
    ["service", match.services],
    ["method", match.methods],
    ["full-method", match.fullMethods],
    ["grpc-header", match.grpcHeaders],
  ] as const;
  return kinds.find(([, values]) => (values?.length ?? 0) > 0)?.[0];
}

function hasConditions(match: RouteMatch): boolean {
  return Object.values(match).some((values: readonly unknown[] | undefined) =>
    values !== undefined && values.length > 0
  );
}

/**
 * Refuses an address that is for another protocol.
 *
 * @throws {TypeError} that says so, or when the address is not valid.
 */
export function checkProtocol(addr: string, protocol: Protocol): void {
  const named = PROTOCOLS[schemeOf(addr)];
  if (named === undefined || named === protocol) return;
  throw new TypeError(
    `address ${normalizeTarget(addr)} is for ${NAMES[named]}; accepted for ${NAMES[protocol]} is ` +
      `${protocol}://, ${protocol}s:// or an address without scheme`,
  );
}
