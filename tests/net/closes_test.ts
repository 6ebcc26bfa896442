/** What is counted when connections are shed or cut, on every kind of listener. */
import { assertEquals, assertMatch } from "@std/assert";
import { parseListenAddress } from "../../lib/common/address.ts";
import { Listener, type Served } from "../../lib/mux/listener.ts";
import { AccessLog } from "../../lib/observe/access_log.ts";
import { Metrics } from "../../lib/observe/metrics.ts";
import {
  GrpcL4,
  GrpcL7,
  HttpL4,
  HttpL7,
  type LoadBalancer,
  type LoadBalancerOptions,
  Mux,
  TcpL4,
} from "../../mod.ts";
import { echo, H2Backend, H2Client } from "../support/h2_peer.ts";
import { Peer, runL7, serveName, serveScript, until, within } from "../support/net.ts";
import { Program } from "../support/program.ts";

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/** Longer than any test: what is cut is cut because a test says so. */
const NEVER_MS = 60_000;

/** Begins something that does not end; resolves when a backend has it. */
interface Use {
  readonly begun: Promise<void>;
  readonly close: () => Promise<void>;
}

const http = async (addr: Deno.Addr): Promise<Use> => {
  const peer = await Peer.connect(addr);
  await peer.write(GET);
  return { begun: peer.read(1).then(() => {}), close: () => peer.close() };
};
const grpc = async (addr: Deno.Addr): Promise<Use> => {
  const client = await H2Client.connect(addr);
  const call = client.call("/s.S/Chat", { open: true, content: "a" });
  return {
    begun: until(() => call.text === "a", "the call does not reach a backend"),
    close: () => client[Symbol.asyncDispose](),
  };
};

type Make = (backend: string, options: LoadBalancerOptions) => LoadBalancer;
const KINDS: readonly [make: Make, protocol: "http" | "grpc"][] = [
  [(backend, options) => new HttpL7({ ...options, backends: [backend] }), "http"],
  [(backend, options) => new HttpL4({ ...options, backends: [backend] }), "http"],
  [(backend, options) => new TcpL4({ ...options, backends: [backend] }), "http"],
  [(backend, options) => new Mux({ ...options, http: { backends: [backend] } }), "http"],
  [(backend, options) => new GrpcL7({ ...options, backends: [backend] }), "grpc"],
  [(backend, options) => new GrpcL4({ ...options, backends: [backend] }), "grpc"],
  [(backend, options) => new Mux({ ...options, grpc: { backends: [backend] } }), "grpc"],
];

Deno.test("what is still under way at the end of the drain is cut, counted, and logged as the shutdown", async () => {
  await using half = await serveScript(async (peer) => {
    await peer.head();
    await peer.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    await peer.closed;
  });
  await using calls = await H2Backend.listen({ onCall: echo });
  for (const [make, protocol] of KINDS) {
    const lines: string[] = [];
    const decoder = new TextDecoder();
    const accessLog = new AccessLog({
      format: "json",
      sink: {
        write: (bytes) => {
          lines.push(...decoder.decode(bytes).trimEnd().split("\n"));
          return Promise.resolve();
        },
        close: () => Promise.resolve(),
      },
    });
    const lb = make(protocol === "http" ? half.addr : calls.addr, {
      accessLog,
      timeouts: { shutdown: 50 },
    });
    const server = await lb.start("127.0.0.1:0");
    const use = await (protocol === "http" ? http : grpc)(server.addr);
    await within(20_000, "the beginning", use.begun);
    await within(20_000, "the shutdown", server.shutdown());
    const { closes } = lb.metrics.listener(lb.name);
    assertEquals(Object.fromEntries(closes), { drain_timeout: 1 }, `${lb.name}, ${protocol}`);
    await until(() => lines.length === 1, `${lb.name} writes ${lines.length} lines`);
    assertEquals(JSON.parse(lines[0]!).error, "shutdown", `${lb.name}, ${protocol}`);
    await use.close();
  }
});

Deno.test("connections that give way when descriptors run out are counted", async () => {
  const metrics = new Metrics().listener("test");
  const listener = new Listener({
    address: parseListenAddress("127.0.0.1:0"),
    maxConnections: 10,
    metrics,
    accept: (duplex): Served => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const end = () => {
        duplex.close();
        resolve();
      };
      return {
        serve: () => promise,
        idleness: () => ({ time: NEVER_MS, used: true }),
        drain: end,
        abort: end,
      };
    },
  });
  const clients = await Promise.all([1, 2].map(() => Peer.connect(listener.addr)));
  await until(() => metrics.connectionsActive === 2, "the connections are not accepted");
  listener.makeRoom();
  await Promise.all(clients.map((client) => within(20_000, "the end", client.rest())));
  assertEquals([...metrics.closes], [["descriptors", 2]]);
  listener.makeRoom();
  assertEquals([...metrics.closes], [["descriptors", 2]]);
  for (const client of clients) await client.close();
  await listener.shutdown({ grace: 0 });
});

Deno.test("of those above the limit 64 are told so at a time, the others are closed without a word", async () => {
  const most = 64;
  await using backend = serveName("served");
  await using balancer = await runL7({ backends: [backend.addr], limits: { maxConnections: 1 } });
  const metrics = balancer.lb.metrics.listener("http-l7");
  await using inside = await Peer.connect(balancer.addr);
  await inside.get("/");
  const told: Peer[] = [];
  // One that is told is kept for a second. On a busy machine the first go before the last come, so it is tried anew.
  const silent = await within(
    60_000,
    "a client that is told nothing",
    (async () => {
      for (;;) {
        const round = await Promise.all(
          Array.from({ length: 2 * most }, () => Peer.connect(balancer.addr)),
        );
        told.push(...round);
        const rests = await Promise.all(round.map((peer) => peer.rest()));
        const mute = rests.filter(({ bytes }) => bytes.length === 0).length;
        if (mute > 0) return { mute, spoken: rests.length - mute };
      }
    })(),
  );
  assertEquals(silent.spoken >= most, true, `${silent.spoken} were told`);
  assertEquals(metrics.refusals.get("too_many_connections"), told.length);
  assertEquals((await inside.get("/")).text, "served");
  for (const peer of told) await peer.close();
});

Deno.test("an idle client of a gRPC listener is closed after --idle-timeout, which /metrics tells", async () => {
  await using program = new Program([
    ...["grpc-l7", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
    ...["--backend", "127.0.0.1:1", "--idle-timeout", "100ms"],
  ]);
  const admin = await program.find(/the admin listener is open addr=(\S+)/);
  const port = Number((await program.find(/listening addr=(\S+)/)).split(":")[1]);
  const client = await H2Client.connect({ transport: "tcp", hostname: "127.0.0.1", port });
  await within(20_000, "the end of the connection", client.connection.finished);
  await client[Symbol.asyncDispose]();
  const line = /^lb_connections_closed_total\{[^}]*reason="idle_timeout"[^}]*\} 1$/m;
  const read = async () => await (await fetch(`http://${admin}/metrics`)).text();
  let metrics = await read();
  for (let i = 0; i < 1000 && !line.test(metrics); i++) metrics = await read();
  assertMatch(metrics, line);
});
