import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { DnsFollower, type DnsOptions } from "../../lib/backend/discovery/dns.ts";
import { resolveBySystem, type Resolved } from "../../lib/backend/discovery/resolver.ts";
import {
  formatDnsName,
  isDnsName,
  normalizeTarget,
  parseDnsName,
  serverNameOf,
} from "../../lib/common/dns_name.ts";
import { FakeClock, settle } from "../support/fake_clock.ts";

/** A name whose answers a test gives. */
class Scene implements AsyncDisposable {
  readonly time = new FakeClock();
  readonly backends = new Map<string, number>();
  readonly changes: string[] = [];
  questions = 0;
  #pending: PromiseWithResolvers<readonly Resolved[]> | undefined;
  readonly follower: DnsFollower;

  constructor(options: DnsOptions = {}) {
    this.follower = new DnsFollower({
      name: parseDnsName("dns:app.test:80"),
      resolve: () => {
        this.questions++;
        this.#pending = Promise.withResolvers();
        return this.#pending.promise;
      },
      sink: {
        add: (addr, weight) => {
          this.backends.set(addr, weight);
          this.changes.push(`+${addr}*${weight}`);
        },
        remove: (addr) => {
          this.backends.delete(addr);
          this.changes.push(`-${addr}`);
        },
      },
      clock: this.time.clock,
      random: () => 0.5,
    }, options);
  }

  async answer(...addrs: (string | Resolved)[]): Promise<void> {
    this.#pending!.resolve(
      addrs.map((addr) => typeof addr === "string" ? { addr, weight: 1 } : addr),
    );
    await settle();
  }

  async fail(): Promise<void> {
    this.#pending!.reject(new Error("SERVFAIL"));
    await settle();
  }

  get addrs(): string {
    return [...this.backends.keys()].sort().join(" ");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.follower.close();
    assertEquals(this.time.clock.size, 0);
  }
}

Deno.test("names are parsed, and what is none is refused with what is accepted", () => {
  for (
    const text of [
      "dns:app.internal:8080",
      "dns:localhost:1",
      "srv:_http._tcp.app.internal",
      "dns+https://app.internal:443",
      "dns+tcp://app.internal:1",
      "srv+grpcs://_grpc._tcp.app.internal",
    ]
  ) {
    assert(isDnsName(text));
    assertEquals(formatDnsName(parseDnsName(text)), text);
  }
  assertEquals(parseDnsName("DNS:App.Test:80"), {
    type: "host",
    scheme: "",
    host: "app.test",
    port: 80,
  });
  assertEquals(normalizeTarget("DNS+HTTPS://App.Test"), "dns+https://app.test:443");
  assertEquals(normalizeTarget("dns+grpc://app.test"), "dns+grpc://app.test:80");
  assertEquals(normalizeTarget("HTTP://App.Test"), "http://app.test:80");
  for (
    const text of [
      "dns:",
      "dns:app",
      "dns:app:0",
      "dns:app:65536",
      "dns:a b:80",
      "dns:-a:80",
      "dns:[::1]:80",
      `dns:${"a".repeat(64)}:80`,
      `dns:${"a.".repeat(130)}a:80`,
      "srv:app:80",
      "srv:",
      "app:80",
      "dns+ftp://app:80",
      "dns+http://app:80/path",
      "dns+http://user@app:80",
      "dns+tcp://app",
      "dns+http://",
      "srv+https://_a._tcp.app:443",
      "dns+http:app:80",
    ]
  ) assertThrows(() => parseDnsName(text), TypeError, JSON.stringify(text));
  for (const text of ["app:80", "http://dns:80", "unix:/dns"]) assert(!isDnsName(text));
});

Deno.test("certificates must be for the name, of a service for its domain, and not for what a name server says", () => {
  const nameOf = (text: string) => serverNameOf(parseDnsName(text));
  assertEquals(nameOf("dns+https://api.internal.:8443"), "api.internal");
  assertEquals(nameOf("srv+grpcs://_grpc._tcp.api.internal"), "api.internal");
  assertEquals([nameOf("dns+http://api.internal"), nameOf("srv:_http._tcp.api")], [
    undefined,
    undefined,
  ]);
});

Deno.test("all addresses of a name are used, and followed as they change", async () => {
  await using scene = new Scene();
  await scene.answer("10.0.0.1:80", "10.0.0.2:80");
  assertEquals(scene.addrs, "10.0.0.1:80 10.0.0.2:80");
  await scene.time.expire(30_000);
  await scene.answer("10.0.0.2:80", "10.0.0.3:80");
  assertEquals(scene.changes.slice(2), ["+10.0.0.3:80*1", "-10.0.0.1:80"]);
});

Deno.test("an answer that says the same changes nothing", async () => {
  await using scene = new Scene();
  await scene.answer("10.0.0.1:80", "10.0.0.2:80");
  await scene.time.expire(30_000);
  await scene.answer("10.0.0.2:80", "10.0.0.1:80");
  assertEquals([scene.changes.length, scene.questions], [2, 2]);
});

Deno.test("weights are passed on, and change", async () => {
  await using scene = new Scene();
  await scene.answer({ addr: "a:1", weight: 3 }, { addr: "b:1", weight: 0 });
  await scene.time.expire(30_000);
  await scene.answer({ addr: "a:1", weight: 5 }, { addr: "b:1", weight: 0 });
  assertEquals(scene.changes, ["+a:1*3", "+b:1*0", "+a:1*5"]);
});

Deno.test("a failure, an empty answer and no answer keep the last addresses, and the name is asked for again soon", async () => {
  await using scene = new Scene();
  await scene.answer("10.0.0.1:80");
  await scene.time.expire(30_000);
  await scene.fail();
  assertEquals(scene.addrs, "10.0.0.1:80");
  await scene.time.expire(1000);
  assertEquals(scene.questions, 3);
  await scene.answer();
  assertEquals(scene.addrs, "10.0.0.1:80");
  await scene.time.expire(2000);
  assertEquals(scene.questions, 4);
  await scene.time.expire(5000); // nobody answers
  assertEquals(scene.addrs, "10.0.0.1:80");
  await scene.time.expire(4000);
  assertEquals(scene.questions, 5);
  await scene.answer("10.0.0.9:80");
  assertEquals(scene.addrs, "10.0.0.9:80");
  await scene.time.expire(4000);
  assertEquals(scene.questions, 5); // all is well: the interval counts again
});

Deno.test("questions after failures become as rare as the interval, and no rarer", async () => {
  await using scene = new Scene({ interval: 8000 });
  for (const delay of [1000, 2000, 4000, 8000, 8000]) {
    const before: number = scene.questions;
    await scene.fail();
    await scene.time.expire(delay);
    assertEquals(scene.questions, before + 1);
  }
});

Deno.test("what is answered after the end is ignored", async () => {
  const scene = new Scene();
  await scene.follower.close();
  await scene.answer("10.0.0.1:80");
  assertEquals(scene.changes, []);
});

Deno.test("the system is asked for the addresses of a host", async () => {
  const { signal } = new AbortController();
  const found = await resolveBySystem(parseDnsName("dns:localhost:81"), signal);
  assert(found.some(({ addr }) => addr === "127.0.0.1:81" || addr === "[::1]:81"));
  await assertRejects(() =>
    Promise.resolve(resolveBySystem(parseDnsName("dns:nope.invalid:81"), signal))
  );
});

Deno.test("options out of their range are refused with their name and value", () => {
  assertThrows(() => new Scene({ interval: 0 }), TypeError, "dns interval 0");
  assertThrows(() => new Scene({ timeout: NaN }), TypeError, "dns timeout NaN");
});
