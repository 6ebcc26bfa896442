import { assert, assertEquals, assertThrows } from "@std/assert";
import { clientKey } from "../../lib/common/client_key.ts";
import { makeNetworkFilter } from "../../lib/common/networks.ts";
import { ClientLimits } from "../../lib/mux/client_limits.ts";

function from(hostname: string) {
  return { remote: { hostname, port: 1 } };
}

Deno.test("IPv4 clients are told apart by address, IPv6 clients by /64", () => {
  assertEquals(clientKey("192.0.2.1"), "192.0.2.1");
  assertEquals(clientKey("::ffff:192.0.2.1"), "192.0.2.1");
  assertEquals(clientKey("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
  assertEquals(clientKey("2001:db8:1:2::"), clientKey("2001:DB8:1:2:ffff::1"));
  assert(clientKey("2001:db8:1:2::1") !== clientKey("2001:db8:1:3::1"));
  assertEquals(clientKey("::1"), "0:0:0:0::/64");
  for (const other of ["unix", "memory", "no:address"]) assertEquals(clientKey(other), other);
});

Deno.test("a client has so many connections, and one more when one of them ends", () => {
  const limits = new ClientLimits({ maxConnections: 2, isExempt: () => false });
  const first = limits.enter(from("192.0.2.1"));
  assert(first !== undefined);
  assert(limits.enter(from("192.0.2.1")) !== undefined);
  assertEquals(limits.enter(from("192.0.2.1")), undefined);
  assert(limits.enter(from("192.0.2.2")) !== undefined, "another client is not concerned");
  limits.leave(first);
  assert(limits.enter(from("192.0.2.1")) !== undefined);
  assertEquals(limits.enter(from("192.0.2.1")), undefined);
});

Deno.test("the addresses of one /64 are one client", () => {
  const limits = new ClientLimits({ maxConnections: 2, isExempt: () => false });
  assert(limits.enter(from("2001:db8::1")) !== undefined);
  assert(limits.enter(from("2001:db8::2")) !== undefined);
  assertEquals(limits.enter(from("2001:db8::3")), undefined);
  assert(limits.enter(from("2001:db8:0:1::1")) !== undefined);
});

Deno.test("proxies in front and clients of Unix sockets are not counted", () => {
  const limits = new ClientLimits({
    maxConnections: 1,
    isExempt: makeNetworkFilter(["10.0.0.0/8"]),
  });
  for (let i = 0; i < 5; i++) {
    for (const host of ["10.1.2.3", "unix"]) {
      const key = limits.enter(from(host));
      assertEquals(key, "");
      limits.leave(key!);
    }
  }
  assertEquals(limits.size, 0);
});

Deno.test("nothing is held of clients that have gone", () => {
  const limits = new ClientLimits({ maxConnections: 3, isExempt: () => false });
  const keys: string[] = [];
  for (let i = 0; i < 300; i++) keys.push(limits.enter(from(`192.0.2.${i % 100}`))!);
  assertEquals(limits.size, 100);
  for (const key of keys) limits.leave(key);
  assertEquals(limits.size, 0);
});

Deno.test("a limit below 1 is refused", () => {
  for (const maxConnections of [0, -1, 1.5, NaN]) {
    assertThrows(
      () => new ClientLimits({ maxConnections, isExempt: () => false }),
      TypeError,
      "an integer of at least 1",
    );
  }
});
