import { assert, assertEquals, assertLessOrEqual, assertThrows } from "@std/assert";
import { makeNetworkFilter } from "../../lib/common/networks.ts";
import type { Forwarding } from "../../lib/http/forwarded.ts";
import { BodyRate, checkBodyRate } from "../../lib/http/l7/body_rate.ts";
import { clientAddress, RequestRate } from "../../lib/http/l7/rate_limit.ts";
import type { RequestView } from "../../lib/http/message.ts";
import type { RateLimitRule } from "../../lib/route/rate_limit.ts";
import { FakeClock } from "../support/fake_clock.ts";

const isProxy = makeNetworkFilter(["10.0.0.0/8"]);

function view(fields: Record<string, string> = {}, path = "/"): RequestView {
  const header = (name: string) => fields[name];
  return { method: "GET", path, query: "", host: "h", grpc: false, header };
}

function from(address: string): Forwarding {
  return {
    mode: "off",
    trusted: isProxy(address),
    client: { address, scheme: "http" },
    authority: "h",
  };
}

/** A rate, and what it says of requests one after the other at one time. */
function rate(rule: RateLimitRule) {
  const one = new RequestRate(rule, isProxy);
  let now = 0;
  return {
    one,
    wait: (ms: number) => void (now += ms),
    take: (request: RequestView, client = "192.0.2.1") => one.take(request, from(client), now),
  };
}

Deno.test("a client has a burst and then the rate, and is told how long to wait", () => {
  const { take, wait, one } = rate({ rate: 10, burst: 3 });
  assertEquals([1, 2, 3].map(() => take(view())), [0, 0, 0]);
  assertEquals(take(view()), 100);
  wait(40);
  assertEquals(take(view()), 60);
  wait(60);
  assertEquals(take(view()), 0);
  assertEquals(take(view(), "192.0.2.2"), 0, "another client is not concerned");
  assertEquals(one.refused, 2);
});

Deno.test("in the long run no more than the rate is taken, whatever is tried", () => {
  const { take, wait } = rate({ rate: 10, burst: 5 });
  let taken = 0;
  for (let ms = 0; ms < 10_000; ms += 7) {
    if (take(view()) === 0) taken++;
    wait(7);
  }
  assertLessOrEqual(taken, 100 + 5);
  assert(taken >= 100, `${taken} were taken`);
});

Deno.test("requests are counted by what the rule names, and without that by address", () => {
  const user = rate({ rate: 1, key: "header:X-User" });
  assertEquals(user.take(view({ "x-user": "a" })), 0);
  assertEquals(user.take(view({ "x-user": "b" })), 0);
  assert(user.take(view({ "x-user": "a" }), "192.0.2.9") > 0, "from wherever it comes");
  assertEquals(user.take(view()), 0);
  assert(user.take(view({ "x-user": "" })) > 0, "leaving it out or empty is no way around");
  assertEquals(user.take(view(), "192.0.2.2"), 0);
  assertEquals(user.take(view({ "x-user": "192.0.2.1" })), 0, "a value is no address");

  const cookie = rate({ rate: 1, key: "cookie:sid" });
  assertEquals(cookie.take(view({ cookie: "a=1; sid=x" })), 0);
  assert(cookie.take(view({ cookie: "sid=x" }), "192.0.2.2") > 0);

  const path = rate({ rate: 1, key: "path" });
  assertEquals([path.take(view({}, "/a")), path.take(view({}, "/b"))], [0, 0]);
  assert(path.take(view({}, "/a"), "192.0.2.2") > 0);

  const all = rate({ rate: 1, key: "all" });
  assertEquals(all.take(view({}, "/a")), 0);
  assert(all.take(view({}, "/b"), "192.0.2.2") > 0);
});

Deno.test("IPv6 clients are counted by /64", () => {
  const { take } = rate({ rate: 1 });
  assertEquals(take(view(), "2001:db8::1"), 0);
  assert(take(view(), "2001:db8::ffff:1") > 0);
  assertEquals(take(view(), "2001:db8:0:1::1"), 0);
});

Deno.test("a trusted proxy names the client, and nobody else does", () => {
  const address = (peer: string, xff?: string) =>
    clientAddress(view(xff === undefined ? {} : { "x-forwarded-for": xff }), from(peer), isProxy);
  assertEquals(address("192.0.2.1", "1.1.1.1"), "192.0.2.1");
  assertEquals(address("10.0.0.1", "1.1.1.1"), "1.1.1.1");
  assertEquals(address("10.0.0.1", "6.6.6.6, 1.1.1.1"), "1.1.1.1", "what is before may be made up");
  assertEquals(address("10.0.0.1", "6.6.6.6, 1.1.1.1, 10.9.9.9"), "1.1.1.1");
  assertEquals(address("10.0.0.1", "2001:db8::1"), "2001:db8::1");
  assertEquals(address("10.0.0.1", "[2001:db8::1]:443"), "2001:db8::1");
  assertEquals(address("10.0.0.1", "1.1.1.1:5000"), "1.1.1.1");
  assertEquals(address("10.0.0.1"), "10.0.0.1");
  for (const made of ["", "unknown", "6.6.6.6, _hidden", "6.6.6.6,,"]) {
    assertEquals(address("10.0.0.1", made), "10.0.0.1", JSON.stringify(made));
  }
});

Deno.test("what is remembered of clients is bounded in number and size", () => {
  const { take, one } = rate({ rate: 1, burst: 2, key: "header:x" });
  const long = "x".repeat(8000);
  for (let i = 0; i < 3; i++) take(view({ x: `${long}1` }));
  assert(take(view({ x: `${long}1` })) > 0, "long values are told apart");
  assertEquals(take(view({ x: `${long}2` })), 0);
  for (let i = 0; i < 120_000; i++) take(view({ x: String(i) }));
  assertLessOrEqual(one.size, 100_000);
});

Deno.test("each second's worth of bytes gives a body a second more", () => {
  const time = new FakeClock();
  const { clock } = time;
  let now = clock.now();
  const at = { now: () => now } as typeof clock;
  const body = new BodyRate({ rate: 100, grace: 2000 }, at);
  assertEquals(body.next(true, 0), 2000);
  now += 1500;
  assertEquals(body.next(true, 50), 1000);
  now += 60_000;
  assertEquals(body.next(false, 50), 1000, "what the backend takes is not the client's fault");
  now += 999;
  assertEquals(body.next(true, 51), 11);
  now += 11;
  assertEquals(body.next(true, 51), 0);
});

Deno.test("a rate of bodies out of range is refused", () => {
  assertThrows(() => checkBodyRate({ rate: 0, grace: 1 }), TypeError, "minBodyRate 0");
  assertThrows(() => checkBodyRate({ rate: 1, grace: -1 }), TypeError, "bodyGrace -1");
  assertEquals(checkBodyRate({ rate: 0.5, grace: 0 }), { rate: 0.5, grace: 0 });
});
