import { assertEquals } from "@std/assert";
import fc from "fast-check";
import type { RequestView } from "../../lib/http/message.ts";
import type { Route } from "../../lib/route/route.ts";
import { RouteTable } from "../../lib/route/table.ts";
import { validateRoute } from "../../lib/route/validate.ts";
import { ReferenceMatcher } from "../support/reference_matcher.ts";
import { crowdedMatch, PATH_REGEXES, request, routeMatch } from "../support/route_arbitrary.ts";

const SEED = 20261122;

/** The valid ones of random routes; conditions that contradict each other are refused. */
const routes = fc.oneof(
  fc.array(routeMatch, { maxLength: 40, size: "max" }),
  fc.array(crowdedMatch, { maxLength: 40, size: "max" }),
).map((matches) =>
  matches.flatMap((match): Route[] => {
    try {
      return [validateRoute({ match, targets: [{ addr: "localhost:80", weight: 1 }] })];
    } catch (error) {
      if (error instanceof TypeError && error.message.includes("can never match")) return [];
      throw error;
    }
  })
);
const requests = fc.array(request, { minLength: 1, maxLength: 20, size: "max" });

function assertSame(
  table: RouteTable<Route>,
  reference: ReferenceMatcher,
  requests: readonly RequestView[],
): void {
  for (const view of requests) {
    const hit = table.match(view);
    const { id, matchedPrefix } = hit ?? {};
    assertEquals(hit && { id, matchedPrefix }, reference.match(view));
  }
}

Deno.test("the table finds what a scan of all routes by the written rules finds", () => {
  fc.assert(
    fc.property(routes, requests, (routes, requests) => {
      const table = new RouteTable<Route>();
      const reference = new ReferenceMatcher(PATH_REGEXES);
      for (const [i, route] of routes.entries()) {
        table.add(String(i), route, route);
        reference.add(String(i), route);
      }
      assertEquals(table.size, routes.length);
      assertSame(table, reference, requests);
    }),
    { seed: SEED, numRuns: 1500 },
  );
});

Deno.test("the table finds the same while routes come and go", () => {
  const step = fc.record({ add: fc.boolean(), which: fc.nat() });
  const steps = fc.array(step, { maxLength: 100, size: "max" });
  fc.assert(
    fc.property(routes, steps, requests, (routes, steps, requests) => {
      const table = new RouteTable<Route>();
      const reference = new ReferenceMatcher(PATH_REGEXES);
      const present: string[] = [];
      const absent = routes.map((_, i) => String(i));
      for (const { add, which } of steps) {
        const [from, to] = add ? [absent, present] : [present, absent];
        if (from.length === 0) continue;
        const [id] = from.splice(which % from.length, 1) as [string];
        to.push(id);
        if (add) {
          table.add(id, routes[Number(id)]!, routes[Number(id)]!);
          reference.add(id, routes[Number(id)]!);
        } else {
          assertEquals(table.remove(id), true);
          reference.remove(id);
        }
        assertSame(table, reference, requests.slice(0, 3));
      }
      assertSame(table, reference, requests);
    }),
    { seed: SEED, numRuns: 600 },
  );
});

Deno.test("the order in which routes are added decides nothing but ties", () => {
  const shuffled = routes.chain((routes) =>
    fc.tuple(
      fc.constant(routes),
      fc.shuffledSubarray(routes.map((_, i) => i), { minLength: routes.length }),
    )
  );
  fc.assert(
    fc.property(shuffled, requests, ([routes, order], requests) => {
      const [one, other] = [new RouteTable<Route>(), new RouteTable<Route>()];
      for (const [i, route] of routes.entries()) one.add(String(i), route, route);
      for (const i of order) other.add(String(i), routes[i]!, routes[i]!);
      for (const view of requests) {
        const [a, b] = [one.match(view), other.match(view)];
        if (a?.id === b?.id) continue;
        // Two routes that are equal in every other respect: each table must take its own older one.
        const tie = new ReferenceMatcher(PATH_REGEXES);
        for (const i of order) tie.add(String(i), routes[i]!);
        assertEquals(b?.id, tie.match(view)?.id);
        const alone = new ReferenceMatcher(PATH_REGEXES);
        alone.add("a", a!.route);
        alone.add("b", b!.route);
        assertEquals(alone.match(view)?.id, "a");
        const swapped = new ReferenceMatcher(PATH_REGEXES);
        swapped.add("b", b!.route);
        swapped.add("a", a!.route);
        assertEquals(swapped.match(view)?.id, "b");
      }
    }),
    { seed: SEED, numRuns: 500 },
  );
});

Deno.test("a table from which all routes are removed matches nothing", () => {
  fc.assert(
    fc.property(routes, requests, (routes, requests) => {
      const table = new RouteTable<Route>();
      for (const [i, route] of routes.entries()) table.add(String(i), route, route);
      for (const i of routes.keys()) assertEquals(table.remove(String(i)), true);
      assertEquals(table.size, 0);
      // One more route, so that the lookup does not end at once.
      table.add(
        "last",
        validateRoute({
          match: { hosts: ["other.example"] },
          targets: [{ addr: "localhost:80", weight: 1 }],
        }),
        routes[0]!,
      );
      for (const view of requests) assertEquals(table.match(view), undefined);
    }),
    { seed: SEED, numRuns: 200 },
  );
});
