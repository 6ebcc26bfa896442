import { assertEquals, assertThrows } from "@std/assert";
import { HttpL7 } from "../../mod.ts";
import { askAddresses, parseNameServer } from "../../lib/backend/discovery/name_server.ts";

Deno.test("a name server is an IP address, with port 53 unless another is given", () => {
  for (
    const [text, ipAddr, port] of [
      ["10.0.0.53", "10.0.0.53", 53],
      ["127.0.0.1:8600", "127.0.0.1", 8600],
      ["::1", "::1", 53],
      ["[::1]", "::1", 53],
      ["[2001:DB8::0]:5353", "2001:db8::", 5353],
      ["127.0.0.1:65535", "127.0.0.1", 65535],
    ] as const
  ) assertEquals(parseNameServer(text), { ipAddr, port }, text);
});

Deno.test("what is no name server is refused with what is accepted", () => {
  for (
    const text of [
      "",
      "localhost",
      "ns.internal:53",
      "127.0.0.1:",
      "127.0.0.1:0",
      "127.0.0.1:65536",
      "127.0.0.1:53:53",
      "127.0.0.256",
      "[127.0.0.1]:53",
      "[::1",
      "::1]:53",
      "[::1]53",
      "udp://127.0.0.1",
      " 127.0.0.1",
    ]
  ) {
    const error = assertThrows(() => parseNameServer(text), TypeError, "10.0.0.53, 127.0.0.1:8600");
    assertEquals(error.message.includes(`name server ${JSON.stringify(text)}`), true, text);
  }
});

Deno.test("a balancer refuses a bad name server when it is made, not when it starts", () => {
  assertThrows(
    () => new HttpL7({ dns: { server: "ns.internal" } }),
    TypeError,
    'name server "ns.internal"',
  );
});

Deno.test("an address is its own, and nobody is asked for it", async () => {
  // Nobody is there to be asked.
  const nobody = { ipAddr: "127.0.0.1", port: 1 };
  const { signal } = new AbortController();
  for (const host of ["10.1.2.3", "2001:db8::1"]) {
    assertEquals(await askAddresses(host, nobody, signal), [host]);
  }
});
