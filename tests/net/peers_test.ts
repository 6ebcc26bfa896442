/**
 * The balancer against HTTP software that others have written. What is not installed is left out, and
 * the test run shows it as ignored.
 */
import {
  assert,
  assertEquals,
  assertGreater,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import {
  type Child,
  findProgram,
  freePort,
  Processes,
  waitForPort,
} from "../../scripts/bench/process.ts";
import {
  Peer,
  runL4,
  runL7,
  type Running,
  serveHttp,
  serveScript,
  settled,
} from "../support/net.ts";

/** Runs a client to its end. */
async function runClient(
  program: string,
  args: readonly string[],
  input = "",
): Promise<{ readonly output: string; readonly errors: string; readonly code: number }> {
  const child = new Deno.Command(findProgram(program)!, {
    args: [...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  // A client that wants no input closes its end.
  await writer.write(new TextEncoder().encode(input)).catch(() => {});
  await writer.close().catch(() => {});
  const { code, stdout, stderr } = await child.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { output: text(stdout), errors: text(stderr), code };
}

/** A test that needs programs. */
function withPrograms(programs: readonly string[], name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore: programs.some((program) => findProgram(program) === undefined), fn });
}

/** Servers with their files, gone at the end. */
class Servers implements AsyncDisposable {
  readonly folder: string;
  readonly #processes: Processes;

  private constructor(folder: string) {
    this.folder = folder;
    this.#processes = new Processes(folder);
  }

  static async make(): Promise<Servers> {
    const folder = await Deno.makeTempDir();
    // The workers of nginx may run as another user.
    await Deno.chmod(folder, 0o755);
    return new Servers(folder);
  }

  async #start(name: string, command: readonly string[], port: number): Promise<number> {
    const child: Child = this.#processes.spawn([findProgram(name)!, ...command], { cpu: 0 });
    await waitForPort(port, name, child);
    return port;
  }

  /** Starts nginx with the content of a server block. */
  async nginx(server: string): Promise<number> {
    const port = freePort();
    const { folder } = this;
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
      .map((name) => `${name}_temp_path ${folder}/${name};`).join(" ");
    await Deno.writeTextFile(
      `${folder}/nginx.conf`,
      `worker_processes 1; daemon off; pid ${folder}/nginx.pid; error_log ${folder}/error.log;
      events { worker_connections 256; }
      http { access_log off; ${temporary} default_type text/plain;
        server { listen 127.0.0.1:${port}; root ${folder}; ${server} } }`,
    );
    return await this.#start("nginx", ["-c", `${folder}/nginx.conf`], port);
  }

  /** Starts HAProxy in front of one server. */
  async haproxy(backend: string): Promise<number> {
    const port = freePort();
    await Deno.writeTextFile(
      `${this.folder}/haproxy.cfg`,
      `defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout server 20s
  option forwardfor
listen front
  bind 127.0.0.1:${port}
  server one ${backend}
`,
    );
    return await this.#start("haproxy", ["-db", "-f", `${this.folder}/haproxy.cfg`], port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#processes.stopAll();
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** A backend that says what it was asked. */
const serveEcho = () =>
  serveHttp(async (request) => {
    const { pathname } = new URL(request.url);
    const body = await request.bytes();
    return Response.json({
      method: request.method,
      pathname,
      size: body.length,
      length: request.headers.get("content-length"),
      forwarded: request.headers.get("x-forwarded-for"),
      upgrade: request.headers.get("upgrade"),
    });
  });

const CURL = ["--silent", "--show-error", "--noproxy", "*", "--max-time", "10"];

/** Runs curl; fails when it does. */
async function curl(args: readonly string[], input = ""): Promise<string> {
  const { code, output, errors } = await runClient("curl", [...CURL, ...args], input);
  assertEquals(code, 0, errors);
  return output;
}

/** What curl prints behind a body. */
const VERSION = "\n%{http_version} %{http_code} %{num_connects}\n";

withPrograms(["curl"], "curl is served in every way it has of speaking HTTP/1", async () => {
  await using backend = await serveEcho();
  await using balancer = await runL7({ backends: [backend.addr] });
  const url = `${balancer.origin}/path`;
  const ask = async (args: readonly string[], input = "") => {
    const [json, status] = (await curl([...args, "-w", VERSION, url], input)).split("\n");
    return { ...JSON.parse(json!), status };
  };
  const plain = { method: "GET", pathname: "/path", size: 0, length: null, upgrade: null };
  const forwarded = "127.0.0.1";
  assertEquals(await ask(["--http1.1"]), { ...plain, forwarded, status: "1.1 200 1" });
  assertEquals(await ask(["--http1.0"]), { ...plain, forwarded, status: "1.1 200 1" });
  // An upgrade to HTTP/2 is offered; whoever does not take it goes on as if it had not been.
  assertEquals(await ask(["--http2"]), { ...plain, forwarded, status: "1.1 200 1" });
  const posted = { ...plain, forwarded, method: "POST", status: "1.1 200 1" };
  assertEquals(await ask(["--data", "hello"]), { ...posted, size: 5, length: "5" });
  const body = "x".repeat(2_000_000);
  // With so large a body curl waits for 100 Continue.
  assertEquals(await ask(["--data-binary", "@-"], body), {
    ...posted,
    size: body.length,
    length: `${body.length}`,
  });
  assertEquals(await ask(["-T", "-"], body), {
    ...posted,
    method: "PUT",
    size: body.length,
    length: null,
  });
  const chunked = [
    "-H",
    "Transfer-Encoding: chunked",
    "-H",
    "Expect: 100-continue",
    "--data",
    "hello",
  ];
  assertEquals(await ask(chunked), { ...posted, size: 5, length: null });
  const again = await curl(["-w", VERSION, url, url]);
  assertMatch(again, /\n1\.1 200 1\n[^]*\n1\.1 200 0\n/, "the connection was not used again");
  assertEquals(await curl(["--head", "-o", "/dev/null", "-w", VERSION, url]), "\n1.1 200 1\n");
  await settled(balancer.lb);
});

withPrograms(["curl"], "curl sees trailers, problems and what is at layer 4", async () => {
  await using backend = await serveScript(async (peer) => {
    for (;;) {
      await peer.head();
      await peer.write(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n",
      );
    }
  });
  await using l7 = await runL7({ backends: [backend.addr] });
  assertStringIncludes(await curl(["-D", "-", l7.origin]), "X-Sum: 7");
  await using l4 = await runL4({ backends: [backend.addr] });
  assertStringIncludes(await curl(["-D", "-", l4.origin]), "X-Sum: 7");
  await using empty = await runL7();
  assertStringIncludes(await curl(["-i", empty.origin]), "HTTP/1.1 503 Service Unavailable");
  const { addr } = JSON.parse(await curl(["-X", "POST", `${l4.origin}/lb/add`]));
  assertEquals(addr, "http://127.0.0.1:80");
});

for (const [layer, start] of [["7", runL7], ["4", runL4]] as const) {
  withPrograms(["wrk"], `wrk sees no error at layer ${layer}`, async () => {
    await using a = serveHttp(() => new Response("a"));
    await using b = serveHttp(() => new Response("b"));
    await using balancer: Running<Parameters<typeof settled>[0]> = await start({
      backends: [a.addr, b.addr],
    });
    for (const fields of [[], ["-H", "Connection: close"]]) {
      const { output, code } = await runClient("wrk", [
        ...["-t1", "-c20", "-d1s", ...fields, balancer.origin],
      ]);
      assertEquals(code, 0);
      assert(!/Socket errors|Non-2xx/.test(output), output);
      assertGreater(Number(/(\d+) requests in/.exec(output)![1]), 100);
    }
    assertGreater(a.requests, 100);
    assertGreater(b.requests, 100);
    await settled(balancer.lb);
  });
}

withPrograms(
  ["nginx"],
  "nginx as a backend: files, 304, ranges, HEAD, gzip, 413, keep-alive",
  async () => {
    await using servers = await Servers.make();
    const text = "0123456789".repeat(5000);
    await Deno.writeTextFile(`${servers.folder}/file.txt`, text);
    const port = await servers.nginx(
      `keepalive_requests 7; client_max_body_size 1k; gzip on; gzip_types text/plain;
     location /upload { return 200 "taken"; } location /moved { return 301 /file.txt; }`,
    );
    await using balancer = await runL7({ backends: [`127.0.0.1:${port}`] });
    await using client = await Peer.connect(balancer.addr);

    const whole = await client.get("/file.txt");
    assertEquals([whole.status, whole.text], [200, text]);
    const etag = whole.headers.get("etag")!;
    const same = await client.get("/file.txt", `If-None-Match: ${etag}\r\n`);
    assertEquals([same.status, same.body.length, same.headers.get("etag")], [304, 0, etag]);
    const part = await client.get("/file.txt", "Range: bytes=10-14\r\n");
    assertEquals([part.status, part.text], [206, "01234"]);
    assertEquals(part.headers.get("content-range"), "bytes 10-14/50000");
    const beyond = await client.get("/file.txt", "Range: bytes=60000-\r\n");
    assertEquals(beyond.status, 416);
    const head = await client.ask("HEAD /file.txt HTTP/1.1\r\nHost: a\r\n\r\n", true);
    assertEquals([head.status, head.headers.get("content-length")], [200, "50000"]);
    const zipped = await client.get("/file.txt", "Accept-Encoding: gzip\r\n");
    assertEquals(zipped.headers.get("transfer-encoding"), "chunked");
    const unzipped = new Response(
      new Blob([zipped.body as Uint8Array<ArrayBuffer>]).stream()
        .pipeThrough(new DecompressionStream("gzip")),
    );
    assertEquals(await unzipped.text(), text);
    assertEquals((await client.get("/none")).status, 404);
    assertEquals((await client.get("/moved")).status, 301);
    const upload = "POST /upload HTTP/1.1\r\nHost: a\r\n";
    assertEquals((await client.ask(`${upload}Content-Length: 5\r\n\r\nhello`)).status, 200);
    const chunked = `${upload}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`;
    assertEquals((await client.ask(chunked)).status, 200);
    // nginx closes after every seventh request; nobody may notice.
    for (let i = 0; i < 50; i++) {
      assertEquals((await client.get("/file.txt", "Range: bytes=0-0\r\n")).text, "0");
    }
    const large = await client.ask(`${upload}Content-Length: 5000\r\n\r\n${"x".repeat(5000)}`);
    assertEquals(large.status, 413);
    await settled(balancer.lb);
  },
);

/** Asks for small and large things in many ways. */
async function assertServed(port: number): Promise<void> {
  await using client = await Peer.connect(port);
  const show = async (request: string) => JSON.parse((await client.ask(request)).text);
  for (let i = 0; i < 20; i++) {
    assertEquals((await show(`GET /${i} HTTP/1.1\r\nHost: a\r\n\r\n`)).pathname, `/${i}`);
  }
  const post = "POST /p HTTP/1.1\r\nHost: a\r\n";
  const body = "x".repeat(500_000);
  assertEquals((await show(`${post}Content-Length: ${body.length}\r\n\r\n${body}`)).size, 500_000);
  const chunk = `7a120\r\n${body}\r\n0\r\n\r\n`;
  assertEquals((await show(`${post}Transfer-Encoding: chunked\r\n\r\n${chunk}`)).size, 500_000);
  const head = await client.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", true);
  assertEquals(head.status, 200);
  await Promise.all(Array.from({ length: 50 }, async (_, i) => {
    await using other = await Peer.connect(port);
    for (let k = 0; k < 5; k++) {
      assertEquals(JSON.parse((await other.get(`/${i}/${k}`)).text).pathname, `/${i}/${k}`);
    }
  }));
}

withPrograms(
  ["haproxy"],
  "HAProxy in front of a balancer, and whom it is for is passed on",
  async () => {
    await using servers = await Servers.make();
    await using backend = await serveEcho();
    await using balancer = await runL7({
      backends: [backend.addr],
      trustedProxies: ["127.0.0.1"],
    });
    const port = await servers.haproxy(new URL(balancer.origin).host);
    await assertServed(port);
    await using client = await Peer.connect(port);
    assertEquals(JSON.parse((await client.get("/")).text).forwarded, "127.0.0.1, 127.0.0.1");
    await settled(balancer.lb);
  },
);

withPrograms(["haproxy"], "HAProxy behind a balancer at layer 7 and 4", async () => {
  await using servers = await Servers.make();
  await using backend = await serveEcho();
  const port = await servers.haproxy(backend.addr);
  await using l7 = await runL7({ backends: [`127.0.0.1:${port}`] });
  await assertServed((l7.addr as Deno.NetAddr).port);
  await settled(l7.lb);
  await using l4 = await runL4({ backends: [`127.0.0.1:${port}`] });
  await assertServed((l4.addr as Deno.NetAddr).port);
});

const PYTHON = `
import http.client, json, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
def ask(method, path, body=None, headers={}, **more):
    connection.request(method, path, body, headers, **more)
    response = connection.getresponse()
    data = response.read()
    return response.status, data
sockets = set()
for i in range(5):
    status, data = ask("GET", f"/{i}")
    assert status == 200 and json.loads(data)["pathname"] == f"/{i}", data
    sockets.add(connection.sock)
assert len(sockets) == 1 and None not in sockets, "the connection was not used again"
status, data = ask("POST", "/", b"x" * 100000)
assert json.loads(data)["size"] == 100000, data
status, data = ask("POST", "/", iter([b"abc", b"de", b"f" * 70000]), encode_chunked=True,
                   headers={"Transfer-Encoding": "chunked"})
assert json.loads(data)["size"] == 70005, data
status, data = ask("HEAD", "/")
assert status == 200 and data == b"", data
status, data = ask("DELETE", "/x")
assert json.loads(data)["method"] == "DELETE", data
print("fine")
`;

withPrograms(["python3"], "Python's http.client keeps its connection and is served", async () => {
  await using backend = await serveEcho();
  await using balancer = await runL7({ backends: [backend.addr] });
  const { port } = balancer.addr as Deno.NetAddr;
  const { output, errors } = await runClient("python3", ["-c", PYTHON, `${port}`]);
  assertEquals(output, "fine\n", errors);
});

withPrograms(
  ["python3"],
  "Python's http.client, which sends all before it reads, gets an early 413",
  async () => {
    await using backend = await serveScript(async (peer) => {
      await peer.head();
      await peer.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge");
    });
    await using balancer = await runL7({ backends: [backend.addr] });
    const { port } = balancer.addr as Deno.NetAddr;
    const script = `import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
connection.request("POST", "/", b"x" * 20000000)
response = connection.getresponse()
print(response.status, response.read().decode())`;
    const { output, errors } = await runClient("python3", ["-c", script, `${port}`]);
    assertEquals(output, "413 large\n", errors);
  },
);
