import { assert, assertEquals, assertMatch } from "@std/assert";
import type { BackendInfo, RouteInfo } from "../../lib/control/model.ts";
import { Peer, serveHttp, serveName, until, within } from "../support/net.ts";
import { runProgram } from "../support/program.ts";
import { isAlive, ServedProgram } from "../support/served_program.ts";

const LISTENING = /listening addr=(\S+)/;
const ADMIN_OPEN = /the admin listener is open addr=(\S+)/;
/** Sockets are handed over there only. */
const ignore = Deno.build.os !== "linux";
/** What takes longer has failed. */
const PATIENCE_MS = 20_000;

/** A backend whose answers a test decides. */
function serveControlled(name: string) {
  const control = {
    requests: 0,
    answer: (): Response | Promise<Response> => new Response(name),
    check: (): Response | Promise<Response> => new Response("well"),
  };
  const server = serveHttp((request) => {
    if (new URL(request.url).pathname === "/healthz") return control.check();
    control.requests++;
    return control.answer();
  });
  return { ...server, control, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

async function read<T>(admin: string, path: string, init: RequestInit = {}): Promise<T> {
  using client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
  const response = await fetch(`http://${admin}${path}`, { ...init, client });
  return await response.json();
}

async function healths(admin: string): Promise<BackendInfo["health"][]> {
  const { backends } = await read<{ backends: BackendInfo[] }>(admin, "/lb/backends");
  return backends.map(({ health }) => health);
}

async function addressOf(program: ServedProgram): Promise<Deno.NetAddr> {
  const [hostname, port] = (await program.first.find(LISTENING)).split(":");
  return { transport: "tcp", hostname: hostname!, port: Number(port) };
}

/** Asks so often, on a connection each, and says what was answered. */
async function ask(addr: Deno.Addr, count: number, path = "/"): Promise<string> {
  const answers = new Set<string>();
  for (let i = 0; i < count; i++) {
    await using peer = await Peer.connect(addr);
    answers.add((await peer.get(path, "Connection: close\r\n")).text);
  }
  return [...answers].sort().join();
}

Deno.test({
  name: "a backend whose checks failed before a restart gets no request after it",
  ignore,
  fn: async () => {
    const { promise: silence, resolve: speak } = Promise.withResolvers<Response>();
    await using a = serveControlled("a");
    await using b = serveControlled("b");
    b.control.check = () => new Response("no", { status: 500 });
    await using program = await ServedProgram.start([
      ...["http-l7", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
      ...["--backend", a.addr, "--backend", b.addr],
      ...["--health-check", "http:/healthz", "--health-rise", "1", "--health-timeout", "60s"],
    ]);
    const admin = await program.first.find(ADMIN_OPEN);
    const addr = await addressOf(program);
    await until(async () => (await healths(admin))[1]!.state === "failing", "b fails", PATIENCE_MS);
    const failing = (await healths(admin))[1];
    // The new process can find out nothing by itself.
    let asked = 0;
    b.control.check = () => {
      asked++;
      return silence;
    };
    await program.restart();
    b.control.requests = 0;
    assertEquals(await ask(addr, 12), "a");
    assertEquals([(await healths(admin))[1], b.control.requests], [failing, 0]);
    // It goes on from there: one success is enough, as it was told.
    await until(() => asked > 0, "b is asked", PATIENCE_MS);
    b.control.check = () => new Response("well");
    speak(new Response("well"));
    await until(async () => await ask(addr, 4) === "a,b", "b is back", PATIENCE_MS);
  },
});

Deno.test({
  name: "a backend that is ejected stays so through a restart, and its slow start is nobody else's",
  ignore,
  fn: async () => {
    await using a = serveControlled("a");
    await using b = serveControlled("b");
    b.control.answer = () => new Response("b", { status: 503 });
    await using program = await ServedProgram.start([
      ...["http-l7", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
      ...["--backend", a.addr, "--backend", b.addr, "--slow-start", "60s"],
      ...["--ejection-failures", "3", "--ejection-time", "300s"],
    ]);
    const admin = await program.first.find(ADMIN_OPEN);
    const addr = await addressOf(program);
    await until(
      async () => {
        await ask(addr, 2);
        return (await healths(admin))[1]!.state === "ejected";
      },
      "b is ejected",
      PATIENCE_MS,
    );
    const before = await healths(admin);
    b.control.answer = () => new Response("b");
    for (let round = 0; round < 2; round++) {
      await program.restart();
      b.control.requests = 0;
      assertEquals([await ask(addr, 10), b.control.requests], ["a", 0]);
      assertEquals(await healths(admin), before);
    }
  },
});

Deno.test({
  name: "names of routes are followed, listed and known at once in the next process",
  ignore,
  fn: async () => {
    await using backend = serveName("served");
    const port = backend.addr.split(":")[1]!;
    await using program = await ServedProgram.start([
      ...["http-l7", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
      ...["--route", `path=/api -> dns+http://localhost:${port}`],
      ...["--dns-interval", "300ms"],
    ]);
    const admin = await program.first.find(ADMIN_OPEN);
    const addr = await addressOf(program);
    assertEquals(await ask(addr, 2, "/api"), "served");
    const added = await read<{ id: string; addr: string }>(admin, "/lb/add", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ backend_addr: `dns:localhost:${port}`, paths: ["/late"] }),
    });
    assertEquals(added.addr, `dns:localhost:${port}`);
    const view = async () => {
      const { names } = await read<{ names: BackendInfo[] }>(admin, "/lb/backends");
      const { routes } = await read<{ routes: RouteInfo[] }>(admin, "/lb/routes");
      return {
        names: names.map(({ id, addr, addresses, state, routes }) =>
          JSON.stringify({ id, addr, addresses, state, routes })
        ),
        routes: routes.map(({ id, rule, targets }) => ({ id, rule, targets })),
      };
    };
    await until(async () => await ask(addr, 1, "/late") === "served", "the late one", PATIENCE_MS);
    const before = await view();
    assertEquals(before.names.length, 2);
    await program.restart();
    assertEquals(await view(), before);
    assertEquals([await ask(addr, 2, "/api"), await ask(addr, 2, "/late")], ["served", "served"]);
    const list = await runProgram(["list", "--server", `http://${admin}`]);
    assertMatch(list.stdout, new RegExp(`NAME[^]*dns\\+http://localhost:${port} +active`));
    assertMatch(list.stdout, new RegExp(`-> dns\\+http://localhost:${port}\\b`));
    assert(list.stdout.includes(`127.0.0.1:${port}`), list.stdout);
    await read(admin, `/lb/backends/${added.id}`, { method: "DELETE" });
    assertEquals((await view()).names.length, 1);
  },
});

for (const [timeout, cut] of [["0", true], ["400ms", true], ["576h", false]] as const) {
  Deno.test({
    name: `a connection at layer 4 ${
      cut ? "is cut" : "goes on"
    } in a handover with --drain-timeout ${timeout}`,
    ignore,
    fn: async () => {
      const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const { port } = listener.addr;
      const accepted = listener.accept();
      await using program = await ServedProgram.start([
        ...["tcp-l4", "--listen", "127.0.0.1:0", "--backend", `127.0.0.1:${port}`],
        ...["--drain-timeout", timeout],
      ]);
      await using client = await Peer.connect(await addressOf(program));
      await client.write("hello");
      const backend = await accepted;
      const old = program.pid;
      const buffer = new Uint8Array(16);
      assertEquals(await backend.read(buffer), 5);
      Deno.kill(old, "SIGUSR2");
      await program.first.find(/handed over/);
      if (cut) {
        assertEquals(await program.first.find(/connections are cut .*connections=(\d+)/), "1");
        assertEquals(await within(PATIENCE_MS, "the end", backend.read(buffer)), null);
      } else {
        await until(() => program.pid !== old, "the new process serves", PATIENCE_MS);
        await client.write("still");
        assertEquals([await backend.read(buffer), isAlive(old)], [5, true]);
        await client.close();
      }
      backend.close();
      listener.close();
      await program.gone(old);
    },
  });
}
