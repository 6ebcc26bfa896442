/**
 * Requests of routes that ask for hedging, over memory.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { RouteBuilder } from "../../lib/route/builder.ts";
import { settle } from "./fake_clock.ts";
import type { Message } from "./http_text.ts";
import { A, B, type Client, type L7, type L7Options } from "./l7.ts";
import type { BackendConnection } from "./scripted_backend.ts";

/** A third backend. */
export const C = "http://c:80";
/** The delay of the hedge, in milliseconds. */
export const HEDGE_MS = 100;
/** A request that may be hedged. */
export const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/** An answer with this body. */
export function ok(body: string): string {
  return `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

/** A balancer with one route for everything, which asks for hedging. */
export function hedged(
  options: L7Options = {},
  { hosts = [A, B], change = (builder: RouteBuilder) => builder } = {},
): L7Options {
  let builder = new RouteBuilder().path("/").hedge({ delay: HEDGE_MS });
  for (const host of hosts) builder = builder.target(host);
  return { ...options, backends: [], routes: [change(builder).build()] };
}

/** A request whose two tries are both under way, and have both arrived. */
export interface Race {
  readonly client: Client;
  /** The answer that the client gets. */
  readonly answer: Promise<Message>;
  readonly first: BackendConnection;
  readonly second: BackendConnection;
  /** What each has been asked. */
  readonly asked: readonly [Message, Message];
}

/** Lets a request take so long that it has a second try. */
export async function race(lb: L7, request: string = GET): Promise<Race> {
  const client = lb.connect();
  const answer = client.ask(request);
  // A test that ends early must not be told of it twice.
  answer.catch(() => {});
  await settle();
  const first = await lb.accept(A);
  const one = await first.request();
  await lb.time.expire(HEDGE_MS);
  const second = await lb.accept(B);
  const two = await second.request();
  return { client, answer, first, second, asked: [one, two] };
}

/** Attempts, retries and hedges that the metrics have of each backend. */
export function counts(lb: L7, ...hosts: string[]): number[][] {
  return hosts.map((host) => {
    const { attempts, retries, hedges } = lb.upstream(host);
    return [attempts, retries, hedges];
  });
}

/** Requests in flight on each backend. */
export function inFlight(lb: L7, ...hosts: string[]): number[] {
  return hosts.map((host) => lb.live(host).inFlight);
}

/** Fails unless the request has had one try so far. */
export async function assertNotHedged(lb: L7): Promise<void> {
  await lb.time.expire(HEDGE_MS);
  await lb.time.expire(HEDGE_MS);
  let attempts = 0;
  for (const [, stats] of lb.listener.upstreamSeries()) attempts += stats.attempts;
  assertEquals(attempts, 1, "tries");
}
