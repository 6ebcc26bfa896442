/** Name servers that fail, in front of balancers whose backends are given by name. */
import { assert, assertEquals } from "@std/assert";
import { besideCleanTraffic } from "../support/clean_traffic.ts";
import { NameServer, type NameServerMood } from "../support/name_server.ts";
import {
  delay,
  descriptorCount,
  descriptorsBackTo,
  type HttpBackend,
  Peer,
  runL7,
  type Scripted,
  serveName,
  serveScript,
  until,
} from "../support/net.ts";

const HOST = "backends.test";
const SERVICE = "_http._tcp.backends.test";
const DNS = { interval: 20, retryInterval: 10 };
/** How long an answer is waited for that does not come. */
const TIMEOUT_MS = 150;
/** The runtime asks up to three times, a second apart, before it gives up by itself. */
const PATIENT_MS = 10_000;

/** Moods in which a server gives no address. */
const FAILURES: readonly NameServerMood[] = [
  "drops",
  "SERVFAIL",
  "NXDOMAIN",
  "REFUSED",
  "no records",
  "garbage",
  "half a message",
  "truncates, and closes TCP",
];

function portOf({ addr }: HttpBackend): number {
  return Number(addr.split(":")[1]);
}

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nserved";

/** The backend again at another address of loopback, on the same port. */
function serveAgain(backend: HttpBackend): Promise<Scripted> {
  return serveScript(async (peer) => {
    for (;;) {
      await peer.head();
      await peer.write(OK);
    }
  }, { host: "127.0.0.2", port: portOf(backend) });
}

/** A way to give backends by name. */
interface Naming {
  readonly kind: string;
  /** The name of a backend; SRV records carry a port of their own. */
  nameOf(backend: HttpBackend): string;
  /** Lets the server say that the name stands for a backend at `address`. */
  tell(server: NameServer, backend: HttpBackend, address: string): void;
}

const NAMINGS: readonly Naming[] = [{
  kind: "addresses",
  nameOf: (backend) => `dns:${HOST}:${portOf(backend)}`,
  tell: (server, _, address) => server.records.set(HOST, [{ type: "A", address }]),
}, {
  kind: "SRV records",
  nameOf: () => `srv:${SERVICE}`,
  tell(server, backend, address) {
    const port = portOf(backend);
    server.records.set("host.test", [{ type: "A", address }]);
    server.records.set(SERVICE, [
      { type: "SRV", priority: 1, weight: 1, port, target: "host.test" },
      // Nobody is there; only asked when nobody of a lower priority is known.
      { type: "SRV", priority: 2, weight: 1, port: 1, target: "host.test" },
    ]);
  },
}];

for (const { kind, nameOf, tell } of NAMINGS) {
  for (const mood of FAILURES) {
    Deno.test(`a name server that is asked for ${kind} and fails (${mood}) takes no backend away, and its next answer counts`, async () => {
      const before = descriptorCount();
      {
        await using server = await NameServer.listen();
        await using backend = serveName("served");
        await using again = await serveAgain(backend);
        tell(server, backend, "127.0.0.1");
        await using balancer = await runL7({
          backends: [nameOf(backend)],
          dns: {
            ...DNS,
            server: server.addr,
            // A server that is only slow would be taken for one that drops.
            timeout: mood === "drops" ? TIMEOUT_MS : PATIENT_MS,
          },
        });
        const addresses = () => balancer.lb.backends().map(({ addr }) => addr);
        const at = (host: string) => [`http://${host}:${portOf(backend)}`];
        await until(() => addresses().length === 1, "the first answer", PATIENT_MS);
        assertEquals(addresses(), at("127.0.0.1"));
        await besideCleanTraffic(balancer.addr, "/", "served", async () => {
          server.mood = mood;
          const { udp } = server.asked;
          await until(() => server.asked.udp >= udp + 4, "it is asked again and again", 30_000);
          assertEquals(addresses(), at("127.0.0.1"));
          tell(server, backend, "127.0.0.2");
          server.mood = "answers";
          await until(
            () => addresses().join() === at("127.0.0.2").join(),
            () => `the new address: ${addresses()}`,
            30_000,
          );
          await until(() => again.peers.length > 0, "requests at the new address", 30_000);
        });
      }
      await descriptorsBackTo(before);
    });
  }

  Deno.test(`an answer about ${kind} that is too large for UDP is asked for over TCP`, async () => {
    await using server = await NameServer.listen();
    server.mood = "truncates";
    await using backend = serveName("served");
    tell(server, backend, "127.0.0.1");
    await using balancer = await runL7({
      backends: [nameOf(backend)],
      dns: { ...DNS, server: server.addr, timeout: PATIENT_MS },
    });
    await until(() => balancer.lb.backends().length === 1, "the answer", 30_000);
    assert(server.asked.tcp > 0);
    await besideCleanTraffic(balancer.addr, "/", "served", async () => {
      const { tcp } = server.asked;
      await until(() => server.asked.tcp > tcp + 3, "it is asked over TCP again", 30_000);
      assertEquals(balancer.lb.backends().length, 1);
    });
  });
}

Deno.test("a name server that is not there takes no backend away, and is asked again when it is back", async () => {
  await using backend = serveName("served");
  await using again = await serveAgain(backend);
  const first = await NameServer.listen();
  const { port } = first;
  first.records.set(HOST, [{ type: "A", address: "127.0.0.1" }]);
  await using balancer = await runL7({
    backends: [`dns:${HOST}:${portOf(backend)}`],
    dns: { ...DNS, server: first.addr, timeout: PATIENT_MS },
  });
  const addresses = () => balancer.lb.backends().map(({ addr }) => addr);
  await until(() => addresses().length === 1, "the first answer", PATIENT_MS);
  await besideCleanTraffic(balancer.addr, "/", "served", async () => {
    await first[Symbol.asyncDispose]();
    await delay(500);
    assertEquals(addresses(), [`http://${backend.addr}`]);
    await using second = await NameServer.listen(port);
    second.records.set(HOST, [{ type: "A", address: "127.0.0.2" }]);
    await until(() => addresses().join().includes("127.0.0.2"), "the next answer", 30_000);
    await until(() => again.peers.length > 0, "requests at the new address", 30_000);
    assertEquals(addresses().length, 1);
  });
});

Deno.test("a server that says nothing of AAAA is as good as one that does", async () => {
  await using server = await NameServer.listen();
  server.silentAbout.add("AAAA");
  server.records.set(HOST, [{ type: "A", address: "127.0.0.1" }]);
  await using backend = serveName("served");
  await using balancer = await runL7({
    backends: [`dns:${HOST}:${portOf(backend)}`],
    dns: { ...DNS, server: server.addr, timeout: PATIENT_MS },
  });
  await until(() => balancer.lb.backends().length === 1, "the answer", 30_000);
  await using client = await Peer.connect(balancer.addr);
  assertEquals((await client.get("/")).text, "served");
});

Deno.test("a name has its addresses of both families", async () => {
  await using server = await NameServer.listen();
  server.records.set(HOST, [
    { type: "A", address: "127.0.0.1" },
    { type: "A", address: "127.0.0.2" },
    { type: "AAAA", address: "0:0:0:0:0:0:0:1" },
  ]);
  await using balancer = await runL7({
    backends: [`dns:${HOST}:81`],
    dns: { ...DNS, server: server.addr, timeout: PATIENT_MS },
  });
  await until(() => balancer.lb.backends().length === 3, "the answer", 30_000);
  assertEquals(
    balancer.lb.backends().map(({ addr }) => addr),
    ["http://127.0.0.1:81", "http://127.0.0.2:81", "http://[::1]:81"],
  );
});

Deno.test("SRV records follow their weights and the lowest priority that is known", async () => {
  await using server = await NameServer.listen();
  const record = (priority: number, weight: number, port: number, target: string) =>
    ({ type: "SRV", priority, weight, port, target }) as const;
  const services = [
    record(1, 3, 81, "one.test"),
    record(1, 5, 82, "two.test"),
    record(2, 7, 83, "three.test"),
  ];
  server.records.set(SERVICE, services);
  server.records.set("two.test", [{ type: "A", address: "127.0.0.2" }]);
  server.records.set("three.test", [{ type: "A", address: "127.0.0.3" }]);
  await using balancer = await runL7({
    backends: [`srv:${SERVICE}`],
    dns: { ...DNS, server: server.addr, timeout: PATIENT_MS },
  });
  const seen = () => balancer.lb.backends().map(({ addr, weight }) => `${addr} ${weight}`).sort();
  const becomes = (expected: readonly string[]) =>
    until(() => seen().join() === expected.join(), () => `seen are ${seen()}`, 30_000);
  // One of the first priority is not known; those of the second are not asked for then.
  await becomes(["http://127.0.0.2:82 5"]);
  server.records.set("one.test", [{ type: "A", address: "127.0.0.1" }]);
  await becomes(["http://127.0.0.1:81 3", "http://127.0.0.2:82 5"]);
  server.records.set(SERVICE, services.slice(2));
  await becomes(["http://127.0.0.3:83 7"]);
});

Deno.test("a name that nobody knows does not stand in the way of one that is known", async () => {
  await using backend = serveName("served");
  const port = portOf(backend);
  // RFC 6761, sections 6.3 and 6.4: `localhost` is loopback, and names below `invalid` never exist.
  await using balancer = await runL7({
    backends: ["dns:nowhere.invalid:80", `dns:localhost:${port}`],
    dns: { interval: 100, retryInterval: 50, timeout: 1_000 },
  });
  await using client = await Peer.connect(balancer.addr);
  for (let i = 0; i < 5; i++) {
    assertEquals((await client.get("/")).text, "served");
    await delay(50);
  }
  const addresses = balancer.lb.backends().map(({ addr }) => addr);
  assert(addresses.includes(`http://127.0.0.1:${port}`), addresses.join());
  assert(addresses.every((addr) => addr.endsWith(`:${port}`)), addresses.join());
});
