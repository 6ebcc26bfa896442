import {
  assertAlmostEquals,
  assertEquals,
  assertNotStrictEquals,
  assertStrictEquals,
} from "@std/assert";
import fc from "fast-check";
import { DURATION_BOUNDS, Metrics, RequestStats } from "../../lib/observe/metrics.ts";

const SEED = 20261122;

function bucketOf(seconds: number): number {
  const stats = new RequestStats("r", "b");
  stats.record(200, seconds, 0, 0);
  return stats.buckets.indexOf(1);
}

Deno.test("the bounds of the histogram rise strictly from half a millisecond to a minute", () => {
  assertEquals(DURATION_BOUNDS[0], 0.0005);
  assertEquals(DURATION_BOUNDS.at(-1), 60);
  assertEquals(DURATION_BOUNDS, [...new Set(DURATION_BOUNDS)].sort((a, b) => a - b));
});

Deno.test("a listener is made once and found again by its name", () => {
  const metrics = new Metrics();
  const main = metrics.listener("main");
  assertStrictEquals(metrics.listener("main"), main);
  assertNotStrictEquals(metrics.listener("other"), main);
  assertEquals(Array.from(metrics.listeners(), (l) => l.name), ["main", "other"]);
});

Deno.test("a series is the same object at every call and differs by route and by backend", () => {
  const listener = new Metrics().listener("main");
  const stats = listener.requests("r1", "b1");
  assertStrictEquals(listener.requests("r1", "b1"), stats);
  assertNotStrictEquals(listener.requests("r1", "b2"), stats);
  assertNotStrictEquals(listener.requests("r2", "b1"), stats);
  assertEquals([stats.route, stats.backend], ["r1", "b1"]);
  assertStrictEquals(listener.upstream("b1"), listener.upstream("b1"));
  assertNotStrictEquals(listener.upstream("b1"), listener.upstream("b2"));
});

Deno.test("a request is counted by class of status, in one bucket, and in the sums", () => {
  const stats = new RequestStats("r", "b");
  stats.record(200, 0.002, 10, 100);
  stats.record(204, 0.003, 1, 0);
  stats.record(503, 61, 5, 7);
  assertEquals(Array.from(stats.codes), [0, 0, 2, 0, 0, 1]);
  assertEquals(stats.buckets[DURATION_BOUNDS.indexOf(0.0025)], 1);
  assertEquals(stats.buckets[DURATION_BOUNDS.indexOf(0.005)], 1);
  assertEquals(stats.buckets[DURATION_BOUNDS.length], 1);
  assertEquals(stats.count, 3);
  assertAlmostEquals(stats.sum, 61.005);
  assertEquals([stats.bytesIn, stats.bytesOut], [16, 107]);
});

Deno.test("statuses at the borders fall into their class, and impossible ones lose no request", () => {
  const classOf = (status: number) => {
    const stats = new RequestStats("r", "b");
    stats.record(status, 0, 0, 0);
    return stats.codes.indexOf(1);
  };
  assertEquals([0, 100, 199, 200, 299, 300, 404, 500, 599].map(classOf), [
    0,
    1,
    1,
    2,
    2,
    3,
    4,
    5,
    5,
  ]);
  assertEquals([600, 999, 1e9, -1, -500, 99, NaN].map(classOf), [5, 5, 5, 0, 0, 0, 0]);
});

Deno.test("a duration equal to a bound belongs to the bucket of that bound", () => {
  for (const [i, bound] of DURATION_BOUNDS.entries()) {
    assertEquals(bucketOf(bound), i);
    assertEquals(bucketOf(bound * (1 + Number.EPSILON)), i + 1);
  }
});

Deno.test("every duration falls into the first bucket whose bound is not below it", () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 120, noNaN: true }), (seconds) => {
      const expected = DURATION_BOUNDS.findIndex((bound) => seconds <= bound);
      assertEquals(bucketOf(seconds), expected === -1 ? DURATION_BOUNDS.length : expected);
    }),
    { seed: SEED },
  );
});

Deno.test("a duration that a stepping clock made negative or NaN counts as 0", () => {
  const stats = new RequestStats("r", "b");
  stats.record(200, -5, 0, 0);
  stats.record(200, NaN, 0, 0);
  assertEquals([stats.sum, stats.count, stats.buckets[0]], [0, 2, 2]);
});

Deno.test("buckets and codes always add up to the count", () => {
  const total = (numbers: Float64Array) => numbers.reduce((a, b) => a + b, 0);
  const request = fc.tuple(fc.integer({ min: -10, max: 1200 }), fc.double());
  fc.assert(
    fc.property(fc.array(request), (requests) => {
      const stats = new RequestStats("r", "b");
      for (const [status, seconds] of requests) stats.record(status, seconds, 1, 1);
      assertEquals(stats.count, requests.length);
      assertEquals(total(stats.codes), requests.length);
      assertEquals(total(stats.buckets), requests.length);
    }),
    { seed: SEED },
  );
});

Deno.test("refusals and failures are counted by code", () => {
  const listener = new Metrics().listener("main");
  listener.refused("no_route");
  listener.refused("no_route");
  listener.refused("bad_host");
  assertEquals([...listener.refusals], [["no_route", 2], ["bad_host", 1]]);
  const upstream = listener.upstream("b1");
  upstream.failed("connect_refused");
  upstream.failed("connect_refused");
  assertEquals([...upstream.failures], [["connect_refused", 2]]);
});

Deno.test("forgetting a backend drops its series in every listener and leaves the others", () => {
  const metrics = new Metrics();
  for (const name of ["l1", "l2"]) {
    const listener = metrics.listener(name);
    for (const backend of ["b1", "b2"]) {
      listener.upstream(backend).attempts = 1;
      listener.requests("r1", backend).record(200, 0, 0, 0);
    }
    listener.requests("r2", "b1").record(200, 0, 0, 0);
  }
  metrics.forgetBackend("b1");
  for (const listener of metrics.listeners()) {
    assertEquals(Array.from(listener.upstreamSeries(), ([backend]) => backend), ["b2"]);
    assertEquals(Array.from(listener.requestSeries(), (s) => [s.route, s.backend]), [["r1", "b2"]]);
    assertEquals(listener.requests("r1", "b2").count, 1);
  }
});

Deno.test("forgetting a route drops its series in every listener and keeps the backends", () => {
  const metrics = new Metrics();
  const listener = metrics.listener("l1");
  listener.requests("r1", "b1");
  listener.requests("r2", "b1");
  listener.upstream("b1");
  metrics.forgetRoute("r1");
  assertEquals(Array.from(listener.requestSeries(), (s) => s.route), ["r2"]);
  assertEquals(Array.from(listener.upstreamSeries(), ([backend]) => backend), ["b1"]);
});

Deno.test("a thousand backends and routes that come and go leave no series behind", () => {
  const metrics = new Metrics();
  const listener = metrics.listener("main");
  for (let i = 0; i < 1000; i++) {
    listener.requests(`route-${i}`, `backend-${i}`).record(200, 0.001, 1, 1);
    listener.requests("stays", `backend-${i}`).record(200, 0.001, 1, 1);
    listener.upstream(`backend-${i}`).attempts++;
    metrics.forgetRoute(`route-${i}`);
    metrics.forgetBackend(`backend-${i}`);
  }
  assertEquals([...listener.requestSeries()], []);
  assertEquals([...listener.upstreamSeries()], []);
});

Deno.test("a request in flight may record to a forgotten series, which stays forgotten", () => {
  const metrics = new Metrics();
  const listener = metrics.listener("main");
  const held = listener.requests("r1", "b1");
  const upstream = listener.upstream("b1");
  metrics.forgetBackend("b1");
  held.record(200, 0.1, 1, 1);
  upstream.active--;
  upstream.failed("upstream_reset");
  assertEquals([...listener.requestSeries()], []);
  assertEquals(listener.requests("r1", "b1").count, 0);
  assertEquals(listener.upstream("b1").active, 0);
});

Deno.test("forgetting what was never there changes nothing", () => {
  const metrics = new Metrics();
  metrics.listener("main").requests("r1", "b1");
  metrics.forgetBackend("b9");
  metrics.forgetRoute("r9");
  assertEquals([...metrics.listener("main").requestSeries()].length, 1);
});
