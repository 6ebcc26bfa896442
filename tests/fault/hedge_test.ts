import { assert, assertEquals, assertGreaterOrEqual, assertLess } from "@std/assert";
import { RouteBuilder } from "../../mod.ts";
import {
  descriptorCount,
  descriptorsBackTo,
  Peer,
  runL7,
  serveScript,
  settled,
  until,
  within,
} from "../support/net.ts";

// One of three backends stalls. What clients see of that without hedging and with it, and that every try is counted.

const CLIENTS = 60;
const STALL_MS = 3_000;
/** Far more than the slowest machine takes. */
const LATE_MS = 60_000;
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/** Waits so long, or until the other side has gone; `false` then. */
async function stall(peer: Peer, ms: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<true>((resolve) => timer = setTimeout(() => resolve(true), ms));
  const reading = peer.fill();
  const goesOn = await Promise.race([late, reading]);
  clearTimeout(timer);
  if (!goesOn) return false;
  await peer.write(OK);
  return await reading;
}

/** A backend; `ms` is how long it takes for an answer. */
async function serveAfter(ms: number) {
  let asked = 0;
  const server = await serveScript(async (peer) => {
    for (;;) {
      await peer.head();
      asked++;
      if (ms === 0) await peer.write(OK);
      else if (!await stall(peer, ms)) return;
    }
  });
  return {
    addr: server.addr,
    asked: () => asked,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** What came of all requests. */
interface Seen {
  /** The time that 99 of 100 requests took at most, in milliseconds. */
  readonly p99: number;
  readonly attempts: number;
  readonly hedges: number;
  readonly retries: number;
  /** Requests that the backends have got, hedges included. */
  readonly asked: number;
}

async function measure(hedge: boolean): Promise<Seen> {
  await using slow = await serveAfter(STALL_MS);
  await using fast = await serveAfter(0);
  await using other = await serveAfter(0);
  const backends = [slow, fast, other];
  let route = new RouteBuilder().path("/");
  for (const { addr } of backends) route = route.target(addr);
  if (hedge) route = route.hedge({ delay: 20 });
  await using balancer = await runL7({ routes: [route.build()] });
  const { addr, lb } = balancer;
  const took = await Promise.all(Array.from({ length: CLIENTS }, async () => {
    await using client = await Peer.connect(addr);
    const began = performance.now();
    const answer = await within(LATE_MS, "an answer", client.get("/"));
    assertEquals([answer.status, answer.text], [200, "ok"]);
    return performance.now() - began;
  }));
  await settled(lb);
  took.sort((a, b) => a - b);
  const listener = lb.metrics.listener(lb.name);
  const stats = [...listener.upstreamSeries()].map(([, stats]) => stats);
  const sum = (of: (one: (typeof stats)[number]) => number) =>
    stats.reduce((all, one) => all + of(one), 0);
  assertEquals(sum(({ failures }) => failures.size), 0, "nobody is blamed");
  assertEquals(sum(({ active }) => active), 0);
  let answered = 0;
  for (const series of listener.requestSeries()) answered += series.codes[2]!;
  assertEquals(answered, CLIENTS, "each request is counted once, as answered");
  const asked = () => backends.reduce((all, { asked }) => all + asked(), 0);
  const sent = sum(({ connects, reuses }) => connects + reuses);
  await until(() => asked() >= CLIENTS && asked() <= sent, () => `${asked()} of ${sent} came`);
  return {
    p99: took[Math.ceil(CLIENTS * 0.99) - 1]!,
    attempts: sum(({ attempts }) => attempts),
    hedges: sum(({ hedges }) => hedges),
    retries: sum(({ retries }) => retries),
    asked: asked(),
  };
}

Deno.test("hedging takes a backend that stalls out of the tail, and every try is counted", async () => {
  const before = descriptorCount();
  const plain = await measure(false);
  assertGreaterOrEqual(plain.p99, STALL_MS, "a third of the requests stalls");
  assertEquals([plain.attempts, plain.hedges, plain.asked], [CLIENTS, 0, CLIENTS]);
  const hedged = await measure(true);
  assertLess(hedged.p99, STALL_MS);
  assertGreaterOrEqual(hedged.hedges, CLIENTS / 3, "each request that stalled was hedged");
  assertEquals(hedged.attempts, CLIENTS + hedged.hedges);
  assertEquals(hedged.retries, hedged.hedges, "a hedge is a retry");
  assert(hedged.asked <= hedged.attempts);
  await descriptorsBackTo(before);
});
