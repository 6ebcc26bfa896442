import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { parseListenAddress } from "../../lib/common/address.ts";
import { VERSION } from "../../lib/common/version.ts";
import { type AdminOptions, AdminServer } from "../../lib/control/admin.ts";
import { HttpL7 } from "../../lib/load_balancer.ts";
import type { HttpL7Options } from "../../lib/load_balancer/options.ts";

const ANY_PORT = parseListenAddress("127.0.0.1:0");

/** Runs a balancer with an admin listener, and ends both. */
async function withAdmin(
  options: HttpL7Options,
  adminOptions: Partial<AdminOptions>,
  test: (admin: AdminServer, url: string, lb: HttpL7) => Promise<void>,
): Promise<void> {
  const lb = new HttpL7(options);
  const admin = new AdminServer(lb, { address: ANY_PORT, ...adminOptions });
  try {
    const { port } = admin.addr as Deno.NetAddr;
    await test(admin, `http://127.0.0.1:${port}`, lb);
  } finally {
    await admin.shutdown();
    await lb.close();
  }
}

Deno.test("the admin listener answers management requests", async () => {
  await withAdmin({}, {}, async (_admin, url, lb) => {
    const added = await fetch(`${url}/lb/add`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: '{"backend_addr":"http://127.0.0.1:9","paths":["/api"]}',
    });
    assertEquals(added.status, 201);
    const { id, route_id } = await added.json();
    const { backends } = await (await fetch(`${url}/lb/backends`)).json();
    assertEquals(backends.map((backend: { id: string }) => backend.id), [id]);
    assertEquals(lb.routes()[0]?.id, route_id);
    const head = await fetch(`${url}/lb/routes`, { method: "HEAD" });
    assertEquals([head.status, await head.text()], [200, ""]);
    const large = await fetch(`${url}/lb/add`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: " ".repeat(70_000),
    });
    assertEquals([large.status, (await large.json()).code], [413, "payload_too_large"]);
  });
});

Deno.test("readiness follows listeners, backends and the end of the balancer, health does not", async () => {
  await withAdmin({}, {}, async (admin, url, lb) => {
    const ready = async () => {
      const response = await fetch(`${url}/readyz`);
      return [response.status, await response.json()];
    };
    const healthy = async () => {
      const response = await fetch(`${url}/healthz`);
      assertEquals([response.status, await response.json()], [200, { status: "ok" }]);
    };
    const none = { active: 0, healthy: 0, failing: 0, ejected: 0, unreachable: 0, draining: 0 };
    const nobody = { status: "not ready", reason: "no backend is active", routes: 0 };
    assertEquals(await ready(), [
      503,
      { ...nobody, reason: "no listener is open", backends: none },
    ]);
    await lb.start("127.0.0.1:0");
    assertEquals(await ready(), [503, { ...nobody, backends: none }]);
    await healthy();
    const id = lb.addBackend("http://127.0.0.1:9");
    const one = { ...none, active: 1, healthy: 1 };
    assertEquals(await ready(), [200, { status: "ready", backends: one, routes: 0 }]);
    await lb.drainBackend(id);
    assertEquals(await ready(), [503, { ...nobody, backends: { ...none, draining: 1 } }]);
    lb.addBackend("http://127.0.0.1:9");
    admin.drain();
    assertEquals(await ready(), [
      503,
      { ...nobody, reason: "the balancer is shutting down", backends: one },
    ]);
    await healthy();
  });
});

Deno.test("metrics tell of the balancer and its backends", async () => {
  const backend = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    () => new Response("ok"),
  );
  const addr = `http://127.0.0.1:${backend.addr.port}`;
  try {
    await withAdmin({ backends: [addr], name: "edge" }, {}, async (_admin, url, lb) => {
      const server = await lb.start("127.0.0.1:0");
      const { port } = server.addr as Deno.NetAddr;
      for (let i = 0; i < 3; i++) await (await fetch(`http://127.0.0.1:${port}/`)).text();
      const id = lb.backends()[0]!.id;
      const response = await fetch(`${url}/metrics`);
      assertEquals(response.status, 200);
      assertStringIncludes(response.headers.get("content-type")!, "text/plain; version=0.0.4");
      const lines = (await response.text()).split("\n");
      const expected = [
        'lb_backends{state="active"} 1',
        'lb_backends{state="draining"} 0',
        `lb_backend_info{backend="${id}",addr="${addr}"} 1`,
        `lb_backend_in_flight{backend="${id}"} 0`,
        "lb_routes 0",
        `lb_upstream_connections{state="idle",listener="edge",backend="${id}"} 1`,
        `lb_build_info{version="${VERSION}",deno="${Deno.version.deno}"} 1`,
      ];
      for (const line of expected) {
        assert(lines.includes(line), `${line}\nis missing in\n${lines.join("\n")}`);
      }
      const requests = lines.filter((line) =>
        line.startsWith('lb_requests_total{code="2xx"') && line.includes(id)
      );
      assertEquals(requests.map((line) => line.split(" ")[1]), ["3"]);
    });
  } finally {
    await backend.shutdown();
  }
});

Deno.test("whoever may not manage may not read the metrics, unless these are open", async () => {
  const headers = { Origin: "http://page.example" };
  for (const openMetrics of [false, true]) {
    await withAdmin({}, { openMetrics }, async (_admin, url) => {
      const status = async (path: string) => {
        const response = await fetch(`${url}${path}`, { headers });
        await response.body?.cancel();
        return response.status;
      };
      assertEquals(await status("/metrics"), openMetrics ? 200 : 403);
      assertEquals(await status("/lb/backends"), 403);
      assertEquals(await status("/healthz"), 200);
      assertEquals(await status("/readyz"), 503);
    });
  }
});

Deno.test("the index names what there is; anything else is not there", async () => {
  await withAdmin({}, {}, async (_admin, url) => {
    const index = await (await fetch(`${url}/`)).text();
    for (const path of ["/lb/add", "/metrics", "/healthz", "/readyz"]) {
      assertStringIncludes(index, path);
    }
    const nothing = await fetch(`${url}/nothing`);
    assertEquals([nothing.status, (await nothing.json()).code], [404, "not_found"]);
    const post = await fetch(`${url}/healthz`, { method: "POST" });
    assertEquals([post.status, post.headers.get("allow")], [405, "GET, HEAD"]);
    await post.body?.cancel();
  });
});

Deno.test("an address that is taken is refused at once", async () => {
  await withAdmin({}, {}, async (admin, _url, lb) => {
    const { port } = admin.addr as Deno.NetAddr;
    const address = parseListenAddress(`127.0.0.1:${port}`);
    await Promise.resolve();
    assertThrows(() => new AdminServer(lb, { address }), Deno.errors.AddrInUse);
  });
});

Deno.test("the admin listener works on a Unix socket and leaves no file behind", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/admin.sock`;
  try {
    await withAdmin({}, { address: parseListenAddress(`unix:${path}`) }, async () => {
      const conn = await Deno.connect({ transport: "unix", path });
      await conn.write(
        new TextEncoder().encode(
          "GET /lb/backends HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        ),
      );
      const answer = await new Response(conn.readable).text();
      // A foreign name in Host is refused: a proxy in front of the socket may pass on what pages send.
      assertStringIncludes(answer, "HTTP/1.1 403");
    });
    await assertRejects(() => Deno.lstat(path), Deno.errors.NotFound);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a client that never ends its request holds the end up only for a while", async () => {
  const lb = new HttpL7();
  const admin = new AdminServer(lb, { address: ANY_PORT, grace: 100 });
  const { port } = admin.addr as Deno.NetAddr;
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  try {
    await conn.write(
      new TextEncoder().encode(
        "POST /lb/add HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
          "Content-Length: 10\r\n\r\n{",
      ),
    );
    const idle = await fetch(`http://127.0.0.1:${port}/healthz`);
    await idle.body?.cancel();
    const before = performance.now();
    await admin.shutdown();
    await admin.finished;
    assert(performance.now() - before < 20_000);
    await assertRejects(() => fetch(`http://127.0.0.1:${port}/healthz`), TypeError);
  } finally {
    conn.close();
    await lb.close();
  }
});

Deno.test({
  name: "the admin listener comes back after the process ran out of descriptors",
  // The limit is set by a POSIX shell.
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const script = new URL("../support/admin_exhaustion.ts", import.meta.url).pathname;
    const config = new URL("../../deno.json", import.meta.url).pathname;
    const { code, stdout, stderr } = await new Deno.Command("sh", {
      args: [
        ...["-c", 'ulimit -n 96; exec "$@"', "sh"],
        ...[Deno.execPath(), "run", "--no-lock", "--config", config, "-A", script],
      ],
      env: { NO_COLOR: "1" },
    }).output();
    const text = new TextDecoder();
    assertEquals(
      [code, text.decode(stdout).trim()],
      [0, "200 after exhaustion"],
      text.decode(stderr),
    );
  },
});
