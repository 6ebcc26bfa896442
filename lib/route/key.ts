/**
 * The identity of a route: what it matches and what it changes, not where it leads.
 *
 * @module
 */

import { formatRateLimit } from "./rate_limit.ts";
import type { FieldChanges, Route } from "./route.ts";

/**
 * A canonical JSON text of the conditions and changes of a route, without its targets. Two routes
 * that say the same in another order have the same key.
 *
 * @param route The route as `validateRoute` returns it.
 */
export function routeKey(route: Route): string {
  const { match } = route;
  return JSON.stringify({
    hosts: sorted(match.hosts),
    paths: sorted(match.paths?.map(({ type, value }) => [type, value])),
    httpMethods: sorted(match.httpMethods),
    headers: sorted(match.headers?.map(valueKey)),
    params: sorted(match.params?.map(valueKey)),
    services: sorted(match.services),
    methods: sorted(match.methods),
    fullMethods: sorted(match.fullMethods),
    grpcHeaders: sorted(match.grpcHeaders?.map(valueKey)),
    rewrite: route.rewrite && [route.rewrite.type, route.rewrite.value],
    requestHeaders: changesKey(route.requestHeaders),
    responseHeaders: changesKey(route.responseHeaders),
    redirect: route.redirect &&
      [
        route.redirect.status,
        route.redirect.scheme ?? null,
        route.redirect.host ?? null,
        route.redirect.path ?? null,
      ],
    retry: route.retry && [
      route.retry.attempts ?? null,
      sorted(route.retry.on) ?? null,
      route.retry.perTryTimeout ?? null,
    ],
    hedge: route.hedge?.delay,
    rateLimit: route.rateLimit && formatRateLimit(route.rateLimit),
  });
}

function valueKey(match: NonNullable<Route["match"]["headers"]>[number]): readonly string[] {
  return match.type === "present"
    ? [match.name, match.type]
    : [match.name, match.type, match.value];
}

function changesKey(changes: FieldChanges | undefined): unknown {
  return changes && {
    remove: sorted(changes.remove),
    set: sorted(changes.set),
    // Fields of one name are added in the order given, which a stable sort by name keeps.
    add: changes.add?.toSorted(([a], [b]) => compare(a, b)),
  };
}

/** A copy in an order that depends on nothing but the values. */
function sorted<V>(values: readonly V[] | undefined): V[] | undefined {
  return values?.toSorted((a, b) => compare(JSON.stringify(a), JSON.stringify(b)));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
