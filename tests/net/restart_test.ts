import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { BackendInfo, RouteInfo } from "../../lib/control/model.ts";
import { LB_PROTO } from "../../lib/grpc/protos.ts";
import { loadProto } from "../../lib/grpc/services/definitions.ts";
import { PROJECT_ROOT } from "../../scripts/module_graph.ts";
import { EngineClient } from "../support/engine_client.ts";
import { Peer, serveHttp, serveName, until } from "../support/net.ts";
import { ChildProgram, runProgram } from "../support/program.ts";
import { isAlive, ServedProgram } from "../support/served_program.ts";
import { testWithTools } from "../support/tools.ts";

const LB = loadProto(LB_PROTO).service("lb.LoadBalancer");
const LISTENING = /listening addr=(\S+)/;
const ADMIN_OPEN = /the admin listener is open addr=(\S+)/;
/** Sockets are handed over there only. */
const ignore = Deno.build.os !== "linux";

/** A call of the admin listener over a connection of its own. */
async function manage<T>(admin: string, method: string, path: string, body?: unknown): Promise<T> {
  using client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
  const response = await fetch(`http://${admin}${path}`, {
    method,
    client,
    ...(body === undefined ? {} : {
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    }),
  });
  assert(response.ok, `${response.status} ${path}`);
  return await response.json();
}

async function view(admin: string) {
  const { backends } = await manage<{ backends: BackendInfo[] }>(admin, "GET", "/lb/backends");
  const { routes } = await manage<{ routes: RouteInfo[] }>(admin, "GET", "/lb/routes");
  return {
    backends: backends.map(({ addr, state, weight, routes }) => ({ addr, state, weight, routes })),
    routes: routes.map(({ id, rule, origin }) => ({ id, rule, origin })),
  };
}

/** Asks on a new connection each time, and on one that is kept as long as it is allowed to be, until it is stopped. */
class Asking {
  readonly #addr: Deno.Addr;
  readonly #runs: Promise<void>[];
  #stopped = false;
  answered = 0;
  readonly errors: string[] = [];

  constructor(addr: Deno.Addr) {
    this.#addr = addr;
    this.#runs = [this.#anew(), this.#anew(), this.#kept(), this.#kept()];
  }

  async #ask(peer: Peer, fields = ""): Promise<Headers | undefined> {
    try {
      const { status, text, headers } = await peer.get("/", fields);
      if (status === 200 && text === "served") {
        this.answered++;
        return headers;
      }
      this.errors.push(`${status} ${text}`);
    } catch (error) {
      this.errors.push(String(error));
    }
    return undefined;
  }

  async #anew(): Promise<void> {
    while (!this.#stopped) {
      await using peer = await Peer.connect(this.#addr);
      await this.#ask(peer, "Connection: close\r\n");
    }
  }

  async #kept(): Promise<void> {
    while (!this.#stopped) {
      await using peer = await Peer.connect(this.#addr);
      while (!this.#stopped) {
        const headers = await this.#ask(peer);
        if (headers === undefined || headers.get("connection") === "close") break;
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#runs);
  }
}

Deno.test({
  name: "restarts under load of HTTP and gRPC lose nothing",
  ignore,
  fn: async () => {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--no-lock", "--no-check", "-A", "scripts/restart.ts", "--no-wrk"],
        ...["--restarts", "3", "--interval", "300", "--rate", "100"],
      ],
      cwd: PROJECT_ROOT,
      env: { NO_COLOR: "1" },
    }).output();
    const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    assertEquals(code, 0, text);
    for (const kind of ["POST, connections kept", "GET, a new connection each", "gRPC calls"]) {
      assertMatch(text, new RegExp(`^${kind} +\\d+ +0 `, "m"));
    }
  },
});

Deno.test({
  name:
    "ports, Unix sockets and what was changed at run time survive handovers; the process before ends",
  ignore,
  fn: async () => {
    const folder = await Deno.makeTempDir();
    await using backend = serveName("served");
    await using other = serveName("other");
    const socket = `unix:${folder}/lb.sock`;
    {
      await using program = await ServedProgram.start([
        ...["http-l7", "--listen", "127.0.0.1:0", "--listen", socket, "--admin", "127.0.0.1:0"],
        ...["--backend", backend.addr, "--backend", "127.0.0.1:1", "--fallback"],
      ]);
      const admin = await program.first.find(ADMIN_OPEN);
      const [hostname, port] = (await program.first.find(LISTENING)).split(":");
      const addr: Deno.NetAddr = { transport: "tcp", hostname: hostname!, port: Number(port) };
      const add = (body: unknown) => manage(admin, "POST", "/lb/add", body);
      await manage(admin, "DELETE", "/lb/backends/127.0.0.1:1");
      await add({ backend_addr: `http://${other.addr}`, weight: 3, paths: ["/other"] });
      await add({ backend_addr: "http://127.0.0.1:2", weight: 0 });
      await add({ backend_addr: "http://127.0.0.1:3" });
      await manage(admin, "POST", "/lb/backends/127.0.0.1:3/drain");
      const before = await view(admin);
      const pids = [program.pid];
      const asking = new Asking(addr);
      for (let round = 0; round < 2; round++) {
        await program.restart();
        pids.push(program.pid);
        assertEquals(await view(admin), before);
        await using peer = await Peer.connect({ transport: "unix", path: `${folder}/lb.sock` });
        assertEquals((await peer.get("/other")).text, "other");
        const { answered } = asking;
        await until(() => asking.answered > answered + 20, "requests are not answered");
      }
      await asking.stop();
      assertEquals(asking.errors, []);
      assertEquals(new Set(pids).size, 3);
      assertEquals(pids.map(isAlive), [false, false, true]);
      await program.end();
      const { code, stderr } = await program.first.ended();
      assertEquals(code, 0, stderr);
      assert(!/ (warning|error) /.test(stderr), stderr);
    }
    assertEquals([...Deno.readDirSync(folder)], [], "who listens last removes the file");
    await Deno.remove(folder);
  },
});

Deno.test({
  name: "when the new process does not start, the old one goes on and says so, and can try again",
  ignore,
  fn: async () => {
    const token = await Deno.makeTempFile();
    await Deno.writeTextFile(token, "0123456789abcdef0123456789abcdef");
    await using backend = serveName("served");
    {
      await using program = await ServedProgram.start([
        ...["http-l7", "--listen", "127.0.0.1:0", "--backend", backend.addr],
        ...["--admin-token-file", token],
      ]);
      const [hostname, port] = (await program.first.find(LISTENING)).split(":");
      const addr: Deno.NetAddr = { transport: "tcp", hostname: hostname!, port: Number(port) };
      const { pid } = program;
      const asking = new Asking(addr);
      await Deno.writeTextFile(token, "short");
      Deno.kill(pid, "SIGUSR2");
      const reason = await program.first.find(/nothing was handed over; this process goes on (.*)/);
      assertStringIncludes(reason, "the new process ended with code 2");
      assertStringIncludes(await program.first.find(/lb http-l7: .*/), token);
      assertEquals([program.pid, isAlive(pid)], [pid, true]);
      const { answered } = asking;
      await until(() => asking.answered > answered + 20, "the old process does not serve");
      await Deno.writeTextFile(token, "0123456789abcdef0123456789abcdef");
      await program.restart();
      await asking.stop();
      assertEquals(asking.errors, []);
    }
    await Deno.remove(token);
  },
});

Deno.test({
  name:
    "a slow answer is finished by the old process while the new one serves, and SIGTERM cuts it short",
  ignore,
  fn: async () => {
    const { promise: release, resolve } = Promise.withResolvers<void>();
    let asked = 0;
    await using backend = serveHttp(async (request) => {
      if (new URL(request.url).pathname !== "/slow") return new Response("quick");
      asked++;
      await release;
      return new Response("slow");
    });
    await using program = await ServedProgram.start([
      ...["http-l7", "--listen", "127.0.0.1:0", "--backend", backend.addr],
    ]);
    const [hostname, port] = (await program.first.find(LISTENING)).split(":");
    const addr: Deno.NetAddr = { transport: "tcp", hostname: hostname!, port: Number(port) };
    const old = program.pid;
    await using slow = await Peer.connect(addr);
    await using cut = await Peer.connect(addr);
    const answer = slow.get("/slow");
    await until(() => asked === 1, "the request does not arrive");
    Deno.kill(old, "SIGUSR2");
    await program.first.find(/handed over/);
    await using next = await Peer.connect(addr);
    assertEquals((await next.get("/")).text, "quick");
    assertEquals(isAlive(old), true);
    resolve();
    assertEquals([(await answer).text, (await answer).headers.get("connection")], [
      "slow",
      "close",
    ]);
    await program.gone(old);
    assertEquals((await cut.rest()).bytes.length, 0, "a connection without a request is closed");
  },
});

Deno.test({
  name:
    "a backend that registered itself stays through a handover and leaves with its stream afterwards",
  ignore,
  fn: async () => {
    await using program = await ServedProgram.start([
      ...["grpc-l7", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
    ]);
    const admin = await program.first.find(ADMIN_OPEN);
    const addr = await program.first.find(LISTENING);
    const register = async (client: EngineClient) => {
      const stream = client.open("Register");
      stream.send({ add_l7: { backend_addr: "127.0.0.1:1", services: ["pkg.S"] } });
      assertEquals((await stream.next())!.added.addr, "grpc://127.0.0.1:1");
      return stream;
    };
    await using first = await EngineClient.connect(addr, LB);
    const stream = await register(first);
    const old = program.pid;
    await program.restart();
    let code: unknown;
    await stream.next().catch((error) => code = error.code);
    assertEquals(code, 14, "UNAVAILABLE, so it connects again");
    assertEquals((await view(admin)).backends.map(({ addr }) => addr), ["grpc://127.0.0.1:1"]);
    await using second = await EngineClient.connect(addr, LB);
    const again = await register(second);
    again.end();
    assertEquals(await again.next(), undefined);
    assertEquals((await view(admin)).backends, []);
    assert(program.pid !== old);
  },
});

/** Runs the program with a socket that it inherits as descriptor 3, as systemd starts it. */
function activate(bash: string, fd: number, args: readonly string[], names = "web"): ChildProgram {
  const script = `exec 3<&${fd} ${fd}<&-; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=${names}
exec "$@"`;
  return new ChildProgram(
    new Deno.Command(bash, {
      args: [
        ...["-c", script, "bash", Deno.execPath(), "run", "--no-lock", "-A", "main.ts"],
        ...args,
      ],
      cwd: PROJECT_ROOT,
      env: { NO_COLOR: "1", LB_ADMIN_TOKEN: "" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }),
  );
}

for (
  const [what, listen] of [["every socket that was passed", []], ["by name", [
    "--listen",
    "fd:web",
  ]]] as const
) {
  testWithTools(["bash"], `sockets are passed as systemd does, ${what}`, async ({ bash }) => {
    if (ignore) return;
    await using backend = serveName("served");
    const { HttpL7 } = await import("../../mod.ts");
    const { LinuxSockets } = await import("../../lib/common/linux_sockets.ts");
    const holder = await new HttpL7().start("127.0.0.1:0");
    const fd = holder.share();
    const addr = holder.addr as Deno.NetAddr;
    await using program = activate(bash, fd, ["http-l7", ...listen, "--backend", backend.addr]);
    using sockets = new LinuxSockets();
    sockets.close(fd);
    assertEquals(await program.find(LISTENING), `127.0.0.1:${addr.port}`);
    await holder.shutdown({ passedOn: true });
    await using peer = await Peer.connect(addr);
    assertEquals((await peer.get("/")).text, "served");
    assertEquals((await program.stop()).code, 0);
  });
}

Deno.test("a name of which no socket was passed, and a descriptor that is none, are told of", async () => {
  const named = await runProgram(["http-l7", "--listen", "fd:web"]);
  assertEquals(named.code, 2);
  assertStringIncludes(named.stderr, "--listen fd:web: no socket of this name was passed");
  const numbered = await runProgram(["http-l7", "--listen", "fd:900"]);
  assertEquals(numbered.code, 1);
  assertStringIncludes(
    numbered.stderr,
    ignore ? "sockets are passed on by Linux only" : "descriptor 900 is no listening socket",
  );
});

const RECEIVER = `
import socket, sys, os
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("bound", flush=True)
while True:
    print(s.recv(4096).decode(), flush=True)
`;

testWithTools(["python3"], "the service manager is told who serves", async ({ python3 }) => {
  if (ignore) return;
  const folder = await Deno.makeTempDir();
  {
    const path = `${folder}/notify`;
    await using receiver = new ChildProgram(
      new Deno.Command(python3, {
        args: ["-c", RECEIVER, path],
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      }),
    );
    await receiver.find(/bound/, "stdout");
    await using program = await ServedProgram.start(["tcp-l4", "--listen", "127.0.0.1:0"], {
      NOTIFY_SOCKET: path,
    });
    await receiver.find(/^READY=1$/m, "stdout");
    await program.restart();
    assertEquals(Number(await receiver.find(/^MAINPID=(\d+)$/m, "stdout")), program.pid);
    await program.end();
    await receiver.find(/^STOPPING=1$/m, "stdout");
  }
  await Deno.remove(folder, { recursive: true });
});
