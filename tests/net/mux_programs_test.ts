/**
 * One port, and the programs that people use: curl, h2load, grpcurl and grpc-js.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { serveGrpc } from "../support/h2_backend.ts";
import { type Call, echo, H2Backend, OK } from "../support/h2_peer.ts";
import { runMux, serveHttp } from "../support/net.ts";
import { findTool } from "../support/tools.ts";

function testWith(program: string, name: string, fn: (path: string) => Promise<void>): void {
  const path = findTool(program);
  Deno.test({
    name: `${name}${path === undefined ? ` (left out: ${program} is not installed)` : ""}`,
    ignore: path === undefined,
    fn: () => fn(path!),
  });
}

async function output(program: string, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args: [...args],
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  assertEquals(code, 0, decoder.decode(stderr));
  return decoder.decode(stdout);
}

function serveLength(): ReturnType<typeof serveHttp> {
  return serveHttp(async (request) => {
    const { byteLength } = await request.arrayBuffer();
    return new Response(`${request.method} ${new URL(request.url).pathname} ${byteLength}`, {
      headers: { "X-Cookies": request.headers.get("cookie") ?? "" },
    });
  });
}

const USERS = {
  name: "users.proto",
  text: `syntax = "proto3"; package myapp;
message User { string name = 1; }
service UserService { rpc Login(User) returns (User); }`,
};

testWith(
  "curl",
  "curl gets the same by HTTP/2 with prior knowledge as by HTTP/1.1",
  async (curl) => {
    await using backend = serveLength();
    await using balancer = await runMux({ http: { backends: [backend.addr] } });
    const file = await Deno.makeTempFile();
    try {
      await Deno.writeFile(file, new Uint8Array(3_000_000));
      const calls = [
        ["/a", "--cookie", "a=1; b=2"],
        ["/b", "--data", "hello"],
        ["/c", "--data-binary", `@${file}`],
        ["/d", "--upload-file", file, "--header", "Transfer-Encoding: chunked"],
        ["/e", "--head"],
        ["/f", "--request", "DELETE"],
        ["/lb/routes"],
      ] as const;
      for (const [path, ...args] of calls) {
        const ask = async (version: string, extra: readonly string[]) => {
          const text = await output(
            curl,
            ...["--silent", "--show-error", "--include", "--max-time", "20", version],
            ...extra,
            balancer.origin + path,
          );
          const [head = "", body] = text.split(/\r\n\r\n(?!HTTP)/, 2);
          return {
            version: /HTTP\/([\d.]+) 200[^]*$/.exec(head)?.[1],
            body,
            cookies: /x-cookies: (.*)/i.exec(head)?.[1],
          };
        };
        // Chunks are of HTTP/1.1 only; without a length curl sends none of either.
        const h2 = await ask(
          "--http2-prior-knowledge",
          args.filter((arg) => arg !== "--header" && !arg.startsWith("Transfer")),
        );
        const h1 = await ask("--http1.1", args);
        assertEquals([h2.version, h1.version], ["2", "1.1"], path);
        assertEquals([h2.body, h2.cookies], [h1.body, h1.cookies], path);
      }
    } finally {
      await Deno.remove(file);
    }
  },
);

testWith(
  "h2load",
  "h2load's 5,000 requests over 4 connections of 50 streams all succeed",
  async (h2load) => {
    await using backend = serveLength();
    await using balancer = await runMux({ http: { backends: [backend.addr] } });
    const text = await output(h2load, "-n5000", "-c4", "-m50", `${balancer.origin}/x`);
    assertMatch(text, /5000 succeeded, 0 failed, 0 errored, 0 timeout/);
    assertEquals(backend.requests, 5000);
  },
);

testWith("grpcurl", "grpcurl sees the gRPC side behind the same port", async (grpcurl) => {
  await using backend = serveLength();
  await using users = serveGrpc({ protos: [USERS], services: ["myapp.UserService"] });
  await using balancer = await runMux({
    http: { backends: [backend.addr] },
    grpc: { backends: [users.addr] },
  });
  const address = balancer.origin.slice("http://".length);
  const run = (...args: string[]) => output(grpcurl, "-plaintext", "-max-time", "10", ...args);
  const services = (await run(address, "list")).trim().split("\n");
  assert(services.includes("myapp.UserService") && services.includes("lb.LoadBalancer"));
  const request = JSON.stringify({ name: "ada" });
  const answer = await run("-d", request, address, "myapp.UserService/Login");
  assertEquals(JSON.parse(answer), { name: "ada" });
  const added = await run("-d", '{"addr":"localhost:50054"}', address, "lb.LoadBalancer/AddL4");
  assertEquals(JSON.parse(added).addr, "grpc://localhost:50054");
  const checked = await run(address, "grpc.health.v1.Health/Check");
  assertEquals(JSON.parse(checked), { status: "SERVING" });
  assertEquals(await (await fetch(balancer.origin)).text(), "GET / 0");
});

Deno.test("calls of all kinds by grpc-js go through the port that serves HTTP as well", async () => {
  /** A message with its prefix (PROTOCOL-HTTP2, "Length-Prefixed-Message"). */
  const message = (text: string) =>
    Uint8Array.of(0, 0, 0, 0, text.length, ...new TextEncoder().encode(text));
  const onCall = (call: Call) => {
    switch (call.path) {
      case "/t.T/Unary":
        call.head();
        call.send(message("hello"));
        return call.end([["grpc-status", "0"], ["x-trailer", "t"]]);
      case "/t.T/Error":
        return call.end([...OK, ["grpc-status", "9"], ["grpc-message", "no"]]);
      case "/t.T/Many":
        call.head();
        for (const text of ["1", "2", "3"]) call.send(message(text));
        return call.end();
      case "/t.T/Hang":
        return call.head();
      case "/t.T/Chat":
        return echo(call);
    }
  };
  await using http = serveLength();
  await using grpc = H2Backend.listen({ onCall });
  await using balancer = await runMux({
    http: { backends: [http.addr] },
    grpc: { backends: [grpc.addr] },
  });
  const script = new URL("../support/grpc_js_client.ts", import.meta.url).href;
  const text = await output(
    Deno.execPath(),
    ...["run", "--no-lock", "-A", script, balancer.origin.slice("http://".length)],
  );
  const { unary, error, deadline, serverStream, bidi, cancelled } = JSON.parse(text);
  assertEquals(unary, { code: 0, details: "", messages: ["hello"], trailer: "t" });
  assertEquals([error.code, error.details], [9, "no"]);
  assertEquals([deadline.code, cancelled.code], [4, 1]);
  assertEquals([serverStream.messages, bidi.messages], [["1", "2", "3"], ["x", "y"]]);
  assertEquals(http.requests, 0);
});
