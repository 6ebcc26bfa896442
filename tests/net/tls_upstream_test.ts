import { connect as connectTls } from "node:tls";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect } from "../../lib/backend/connector.ts";
import { parseAddress } from "../../lib/common/address.ts";
import { type Certified, makeAuthority } from "../support/certificate.ts";
import {
  descriptorCount,
  descriptorsBackTo,
  Peer,
  runL4,
  runL7,
  serveScript,
  settled,
  utf8,
} from "../support/net.ts";

const authority = await makeAuthority();

/** An HTTPS backend that answers with its name and echoes bodies. */
function serveTls(certified: Certified, name: string) {
  const stop = new AbortController();
  const server = Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    signal: stop.signal,
    ...certified,
    onListen() {},
  }, (request) => new Response(request.body ?? name));
  return {
    port: server.addr.port,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await server.finished;
    },
  };
}

Deno.test("an https backend with a certificate of a given authority is reached", async (t) => {
  await using backend = serveTls(await authority.issue("localhost", "127.0.0.1"), "secure");
  for (const host of ["localhost", "127.0.0.1"]) {
    await t.step(`by ${host}`, async () => {
      await using balancer = await runL7({
        backends: [`https://${host}:${backend.port}`],
        caCerts: [authority.cert],
      });
      await using client = await Peer.connect(balancer.addr);
      for (let i = 0; i < 3; i++) assertEquals((await client.get("/")).text, "secure");
      const series = [...balancer.lb.metrics.listener("http-l7").upstreamSeries()];
      assertEquals(series.map(([, { connects, reuses }]) => [connects, reuses]), [[1, 2]]);
    });
  }
});

Deno.test("a large body passes TLS whole, both ways", async () => {
  await using backend = serveTls(await authority.issue("localhost"), "echo");
  await using balancer = await runL7({
    backends: [`https://localhost:${backend.port}`],
    caCerts: [authority.cert],
  });
  const body = Uint8Array.from({ length: 1_500_000 }, (_, i) => (i * 89) >> 3);
  await using client = await Peer.connect(balancer.addr);
  await client.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`);
  const sending = client.write(body);
  const answer = await client.answer();
  await sending;
  assertEquals([answer.status, answer.body.length], [200, body.length]);
  assert(answer.body.every((byte, i) => byte === body[i]), "the body has changed");
});

for (
  const [what, names, caCerts] of [
    ["a certificate for another name", ["other.test"], [authority.cert]],
    ["a certificate of an unknown authority", ["localhost"], []],
    ["a certificate of another authority of the same name", ["localhost"], [
      (await makeAuthority()).cert,
    ]],
  ] as const
) {
  Deno.test(`a backend with ${what} is answered 502 and sent nothing`, async () => {
    await using backend = serveTls(await authority.issue(...names), "impostor");
    await using balancer = await runL7({
      backends: [`https://localhost:${backend.port}`],
      caCerts,
    });
    await using client = await Peer.connect(balancer.addr);
    for (let i = 0; i < 2; i++) {
      const answer = await client.get("/");
      assertEquals([answer.status, JSON.parse(answer.text).code], [502, "tls_failed"]);
      assert(!answer.text.includes("ertificate"), "the cause is for the log");
    }
    await settled(balancer.lb);
  });
}

Deno.test("after a backend with a bad certificate another one is tried", async () => {
  await using bad = serveTls(await authority.issue("other.test"), "bad");
  await using good = serveTls(await authority.issue("localhost"), "good");
  await using balancer = await runL7({
    backends: [`https://localhost:${bad.port}`, `https://localhost:${good.port}`],
    caCerts: [authority.cert],
  });
  await using client = await Peer.connect(balancer.addr);
  for (let i = 0; i < 4; i++) assertEquals((await client.get("/")).text, "good");
  const answer = await client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
  assertEquals(answer.text, "body", "nothing was sent, so a POST may go elsewhere too");
});

Deno.test("a backend that does not speak TLS is answered 502", async () => {
  await using plain = await serveScript(async (peer) => {
    await peer.fill();
    await peer.write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
  });
  await using balancer = await runL7({
    backends: [`https://${plain.addr}`],
    caCerts: [authority.cert],
  });
  await using client = await Peer.connect(balancer.addr);
  assertEquals((await client.get("/")).status, 502);
});

Deno.test("a TLS handshake that never ends is given up in time", async () => {
  const before = descriptorCount();
  {
    await using silent = await serveScript((peer) => peer.closed);
    await using balancer = await runL7({
      backends: [`https://${silent.addr}`],
      timeouts: { connect: 150 },
    });
    const each = async () => {
      await using client = await Peer.connect(balancer.addr);
      const answer = await client.get("/");
      assertEquals([answer.status, JSON.parse(answer.text).code], [504, "connect_timeout"]);
    };
    await Promise.all(Array.from({ length: 5 }, each));
    await settled(balancer.lb);
  }
  // The runtime frees such a connection only when its peer ends it, as the end of this backend does.
  await descriptorsBackTo(before);
});

Deno.test("HttpL4 opens TLS to an https backend for a client that speaks plain HTTP", async () => {
  await using backend = serveTls(await authority.issue("localhost"), "secure");
  await using balancer = await runL4({
    backends: [`https://localhost:${backend.port}`],
    caCerts: [authority.cert],
  });
  await using client = await Peer.connect(balancer.addr);
  assertEquals((await client.get("/")).text, "secure");
});

Deno.test("HttpL4 passes TLS of the client through to a backend without a scheme", async () => {
  await using backend = serveTls(await authority.issue("localhost"), "passed through");
  await using balancer = await runL4({ backends: [`127.0.0.1:${backend.port}`] });
  const { port } = balancer.addr as Deno.NetAddr;
  const socket = connectTls({
    host: "127.0.0.1",
    port,
    servername: "localhost",
    ca: authority.cert,
  });
  await new Promise((resolve, reject) => {
    socket.once("secureConnect", resolve);
    socket.once("error", reject);
  });
  let text = "";
  socket.on("data", (data: Uint8Array) => text += new TextDecoder().decode(data));
  socket.write(utf8("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
  await new Promise((resolve) => socket.once("close", resolve));
  assert(text.endsWith("passed through"), text);
});

Deno.test("an attempt to connect ends with its signal, before it begins and in the middle of the handshake", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const address = parseAddress(`https://127.0.0.1:${listener.addr.port}`);
  for (const begun of [false, true]) {
    const abort = new AbortController();
    const why = new Error("nobody waits any more");
    if (!begun) abort.abort(why);
    const attempt = connect(address, { timeout: 60_000, signal: abort.signal });
    const rejected = assertRejects(() => attempt, Error, why.message);
    if (begun) {
      using _silent = await listener.accept();
      abort.abort(why);
      await rejected;
    } else await rejected;
  }
});
