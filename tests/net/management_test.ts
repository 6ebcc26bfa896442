import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { AdminServer } from "../../lib/control/admin.ts";
import { HttpL4, HttpL7 } from "../../lib/load_balancer.ts";

/** A backend that answers with its name, or as told. */
function startBackend(
  handler: (request: Request) => Response | Promise<Response>,
): { addr: string; port: number; [Symbol.asyncDispose](): Promise<void> } {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, handler);
  const { port } = server.addr;
  return {
    addr: `http://127.0.0.1:${port}`,
    port,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** Relayed connections of `fetch` stay open, and a balancer at layer 4 cannot ask them to end. */
const SHORT = { timeouts: { shutdown: 50 } };

/** Runs a balancer on a port of its own. */
async function withBalancer(
  lb: HttpL4 | HttpL7,
  test: (url: string, port: number) => Promise<void>,
): Promise<void> {
  const server = await lb.start("127.0.0.1:0");
  const { port } = server.addr as Deno.NetAddr;
  try {
    await test(`http://127.0.0.1:${port}`, port);
  } finally {
    await server.shutdown();
    await lb.close();
  }
}

const CURL_L4 = "curl -X POST http://localhost:8080/lb/add";
const CURL_L7 = `curl -X POST http://localhost:8080/lb/add -H "Content-Type: application/json" \\
  -d '{"backend_addr":"http://localhost:8083","paths":["/api/v2"],"headers":{"X-Version":"v2"}}'`;

/** Runs a command line of the documentation, but for the ports. */
async function runCurl(line: string, port: number, backend = 8083): Promise<string> {
  const command = line.replace(":8080/", `:${port}/`).replace(":8083", `:${backend}`);
  const { code, stdout, stderr } = await new Deno.Command("sh", {
    args: ["-c", command.replace("curl ", "curl --silent --show-error --noproxy '*' ")],
  }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

async function hasCurl(): Promise<boolean> {
  try {
    return (await new Deno.Command("curl", { args: ["--version"] }).output()).success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

const noCurl = Deno.build.os === "windows" || !await hasCurl();

async function send(url: string, method: string, body?: unknown): Promise<[number, unknown]> {
  const response = await fetch(url, {
    method,
    ...(body === undefined
      ? {}
      : { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }),
  });
  return [response.status, await response.json()];
}

Deno.test({
  name: "the documented curl line registers the caller's address at layer 4",
  ignore: noCurl,
  fn: async () => {
    const lb = new HttpL4();
    await withBalancer(lb, async (_url, port) => {
      const first = JSON.parse(await runCurl(CURL_L4, port));
      assertEquals([first.created, first.addr], [true, "http://127.0.0.1:80"]);
      const again = JSON.parse(await runCurl(CURL_L4, port));
      assertEquals(again, { ...first, created: false });
      assertEquals(lb.backends().length, 1);
    });
  },
});

Deno.test({
  name: "the documented curl line registers a backend with its route at layer 7",
  ignore: noCurl,
  fn: async () => {
    await using backend = startBackend(() => new Response("v2"));
    const lb = new HttpL7();
    await withBalancer(lb, async (url, port) => {
      const first = JSON.parse(await runCurl(CURL_L7, port, backend.port));
      assertEquals(first.created, true);
      const again = JSON.parse(await runCurl(CURL_L7, port, backend.port));
      assertEquals(again, { ...first, created: false });
      assertEquals(
        lb.routes()[0]?.rule,
        `path=/api/v2 header=x-version:v2 -> http://localhost:${backend.port}`,
      );
      const routed = await fetch(`${url}/api/v2/users`, { headers: { "X-Version": "v2" } });
      assertEquals([routed.status, await routed.text()], [200, "v2"]);
      const other = await fetch(`${url}/api/v2/users`);
      assertEquals(other.status, 404);
      await other.body?.cancel();
    });
  },
});

Deno.test("a backend added at layer 4 takes connections at once, and none when it is removed", async () => {
  await using backend = startBackend(() => new Response("blue"));
  const lb = new HttpL4({ management: { defaultPort: backend.port } });
  await withBalancer(lb, async (url) => {
    const [status, added] = await send(`${url}/lb/add`, "POST");
    assertEquals(status, 201);
    const { id } = added as { id: string };
    const close = { headers: { Connection: "close" } };
    assertEquals(await (await fetch(`${url}/`, close)).text(), "blue");
    assertEquals((await send(`${url}/lb/backends/${id}`, "DELETE"))[0], 200);
    const refused = await fetch(`${url}/`, close);
    assertEquals(refused.status, 503);
    await refused.body?.cancel();
  });
});

Deno.test("a path below /lb that is not management goes to the backends", async () => {
  await using backend = startBackend((request) => new Response(new URL(request.url).pathname));
  for (
    const lb of [
      new HttpL4({ backends: [backend.addr], ...SHORT }),
      new HttpL7({ backends: [backend.addr] }),
    ]
  ) {
    await withBalancer(lb, async (url) => {
      for (const path of ["/lb/other", "/lb", "/lb/adder", "/lb/backendsx"]) {
        assertEquals(await (await fetch(`${url}${path}`)).text(), path);
      }
    });
  }
});

Deno.test("listeners leave management to the backends when it is turned off there", async () => {
  await using backend = startBackend((request) => new Response(`${request.method} at the backend`));
  const options = { backends: [backend.addr], management: { onListeners: false }, ...SHORT };
  for (const lb of [new HttpL4(options), new HttpL7(options)]) {
    await withBalancer(lb, async (url) => {
      const response = await fetch(`${url}/lb/add`, { method: "POST" });
      assertEquals(await response.text(), "POST at the backend");
      const admin = new AdminServer(lb, {
        address: { transport: "tcp", scheme: "", host: "127.0.0.1", port: 0 },
      });
      const { port } = admin.addr as Deno.NetAddr;
      assertEquals((await send(`http://127.0.0.1:${port}/lb/backends`, "GET"))[0], 200);
      await admin.shutdown();
    });
  }
});

Deno.test("a thousand adds and removes over HTTP leave nothing behind", async () => {
  await using backend = startBackend(() => new Response("ok"));
  const lb = new HttpL7({ backends: [backend.addr], fallback: true });
  await withBalancer(lb, async (url) => {
    for (let i = 0; i < 1000; i++) {
      const body = { backend_addr: `http://127.0.0.1:${20_000 + i}`, paths: [`/p/${i}`] };
      const [status, added] = await send(`${url}/lb/add`, "POST", body);
      assertEquals(status, 201);
      const { id, route_id } = added as { id: string; route_id: string };
      const path = i % 2 === 0 ? `backends/${id}` : `routes/${route_id}`;
      assertEquals((await send(`${url}/lb/${path}`, "DELETE"))[0], 200);
      if (i % 100 === 0) assertEquals(await (await fetch(`${url}/`)).text(), "ok");
    }
    assertEquals(lb.routes(), []);
    assertEquals(lb.backends().map(({ addr }) => addr), [backend.addr]);
  });
});

Deno.test("a draining backend finishes a slow request and gets no new one", async () => {
  const { promise: release, resolve } = Promise.withResolvers<void>();
  const { promise: reached, resolve: arrive } = Promise.withResolvers<void>();
  await using slow = startBackend(async () => {
    arrive();
    await release;
    return new Response("slow");
  });
  await using other = startBackend(() => new Response("other"));
  const lb = new HttpL7({ backends: [slow.addr] });
  await withBalancer(lb, async (url) => {
    const pending = fetch(`${url}/`);
    await reached;
    const drain = `${url}/lb/backends/${encodeURIComponent(slow.addr)}/drain`;
    const [status, drained] = await send(drain, "POST");
    assertEquals(status, 200);
    assertEquals((drained as { state: string }).state, "draining");
    assertEquals((drained as { in_flight: number }).in_flight, 1);
    lb.addBackend(other.addr);
    for (let i = 0; i < 4; i++) assertEquals(await (await fetch(`${url}/`)).text(), "other");
    resolve();
    const response = await pending;
    assertEquals([response.status, await response.text()], [200, "slow"]);
    const left = lb.backends().find(({ addr }) => addr === slow.addr);
    assertEquals([left?.state, left?.in_flight], ["draining", 0]);
  });
});

Deno.test("weights set at run time change the shares", async () => {
  await using a = startBackend(() => new Response("a"));
  await using b = startBackend(() => new Response("b"));
  const lb = new HttpL7({ backends: [a.addr, b.addr] });
  await withBalancer(lb, async (url) => {
    const id = lb.backends()[0]!.id;
    assertEquals((await send(`${url}/lb/backends/${id}`, "PATCH", { weight: 3 }))[0], 200);
    const counts: Record<string, number> = { a: 0, b: 0 };
    for (let i = 0; i < 16; i++) counts[await (await fetch(`${url}/`)).text()]! += 1;
    assertEquals(counts, { a: 12, b: 4 });
  });
});

Deno.test("refusals over a listener are problem documents, and the connection goes on", async () => {
  const lb = new HttpL7();
  await withBalancer(lb, async (url, port) => {
    const [status, problem] = await send(`${url}/lb/add`, "POST", { paths: ["/x"] });
    assertEquals(status, 400);
    assertEquals((problem as { field: string }).field, "backend_addr");
    const large = await fetch(`${url}/lb/add`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: " ".repeat(70_000),
    });
    assertEquals([large.status, (await large.json()).code], [413, "body_too_large"]);
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    const request = "HEAD /lb/routes HTTP/1.1\r\nHost: localhost\r\n\r\n" +
      "GET /lb/routes/none HTTP/1.1\r\nHost: localhost\r\n\r\n" +
      "GET /lb/routes HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    await conn.write(new TextEncoder().encode(request));
    const answer = await new Response(conn.readable).text();
    assertEquals(answer.match(/HTTP\/1\.1 \d+/g), [
      "HTTP/1.1 200",
      "HTTP/1.1 404",
      "HTTP/1.1 200",
    ]);
    assert(answer.endsWith('\r\n\r\n{"routes":[]}\n'));
    assertStringIncludes(answer.split("\r\n\r\n")[0]!, "Content-Length: 14");
  });
});

Deno.test("a page of another origin cannot add a backend through a listener", async () => {
  for (const lb of [new HttpL4(), new HttpL7()]) {
    await withBalancer(lb, async (_url, port) => {
      for (
        const field of ["Host: localhost\r\nOrigin: http://evil.example", "Host: evil.example"]
      ) {
        const conn = await Deno.connect({ hostname: "127.0.0.1", port });
        const request = `POST /lb/add HTTP/1.1\r\n${field}\r\nConnection: close\r\n\r\n`;
        await conn.write(new TextEncoder().encode(request));
        assertStringIncludes(await new Response(conn.readable).text(), "HTTP/1.1 403");
      }
      assertEquals(lb.backends(), []);
    });
  }
});
