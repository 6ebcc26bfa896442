import { assert, assertEquals, assertRejects } from "@std/assert";
import { settle } from "../support/fake_clock.ts";
import { Truncated } from "../support/http_text.ts";
import { Random } from "../support/prng.ts";
import { testL7 } from "../support/l7.ts";

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/** Text of every byte value that is hard to guess and easy to compare. */
function noise(length: number, seed = 5): string {
  const random = new Random(seed);
  let text = "";
  while (text.length < length) text += String.fromCharCode(random.below(256));
  return text;
}

/** A body in chunks of chance sizes. */
function inChunks(body: string, trailers = ""): string {
  const random = new Random(body.length);
  let text = "";
  for (let at = 0; at < body.length;) {
    const piece = body.slice(at, at + 1 + random.below(9000));
    text += `${piece.length.toString(16)}\r\n${piece}\r\n`;
    at += piece.length;
  }
  return `${text}0\r\n${trailers}\r\n`;
}

const SIZES = [1, 100, 2_000, 17_000, 70_000, 300_000];

testL7("bodies with a length go through whole, of any size, both ways", {}, async (lb) => {
  lb.at().serve(({ body }) =>
    `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body.split("").reverse().join("")}`
  );
  const client = lb.connect();
  for (const size of SIZES) {
    const body = noise(size);
    const response = await client.ask(
      `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n${body}`,
    );
    assert(response.body === body.split("").reverse().join(""), `${size} bytes`);
    assertEquals(response.get("content-length"), String(size));
  }
  assertEquals(lb.at().dials, 1);
});

testL7("chunked bodies go through whole, with their trailers, both ways", {}, async (lb) => {
  const seen: (readonly string[])[] = [];
  lb.at().serve(({ body, trailers }) => {
    seen.push(trailers);
    return "HTTP/1.1 200 OK\r\nTrailer: X-Down\r\nTransfer-Encoding: chunked\r\n\r\n" +
      inChunks(body, "X-Down: 2\r\n");
  });
  const client = lb.connect();
  for (const size of SIZES) {
    const body = noise(size);
    const response = await client.ask(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
        inChunks(body, "X-Up: 1\r\nContent-Length: 7\r\n"),
    );
    assert(response.body === body, `${size} bytes`);
    assertEquals(response.trailers, ["X-Down: 2"]);
    assertEquals(response.get("trailer"), "X-Down");
    assertEquals(seen.pop(), ["X-Up: 1"], "those that frame are dropped");
  }
  assertEquals(lb.at().dials, 1);
});

testL7("empty bodies are told as they came", {}, async (lb) => {
  const client = lb.connect();
  const accepting = lb.accept();
  for (
    const framing of ["Content-Length: 0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
  ) {
    const asking = client.ask(`POST / HTTP/1.1\r\nHost: a\r\n${framing}`);
    const request = await (await accepting).answer(`HTTP/1.1 200 OK\r\n${framing}`);
    const name = framing.split(":")[0]!.toLowerCase();
    assertEquals([request.get(name) !== undefined, request.body], [true, ""]);
    const response = await asking;
    assertEquals([response.get(name) !== undefined, response.body], [true, ""]);
  }
});

testL7("a body that ends with its connection is chunked for the client", {}, async (lb) => {
  const client = lb.connect();
  for (const size of [0, ...SIZES]) {
    const body = noise(size);
    const asking = client.ask(GET);
    const backend = await lb.accept();
    void backend.answer(`HTTP/1.1 200 OK\r\n\r\n${body}`).then(() => backend.close());
    const response = await asking;
    assert(response.body === body, `${size} bytes`);
    assertEquals(response.get("transfer-encoding"), "chunked");
    assertEquals(response.get("connection"), undefined);
  }
});

testL7("a body is passed on as it comes, not when it is whole", {}, async (lb) => {
  const client = lb.connect();
  const upload = client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
  const backend = await lb.accept();
  const head = await backend.head();
  assertEquals(head?.get("content-length"), "6");
  assertEquals(await backend.read(3), "abc");
  await upload;
  void client.send("def");
  assertEquals(await backend.read(3), "def");
  const sent = backend.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
  const response = await client.head();
  assertEquals(response?.status, 200);
  assertEquals(await client.read(6), "1\r\nx\r\n");
  await sent;
  void backend.send("1\r\ny\r\n0\r\n\r\n");
  assertEquals(await client.read(11), "1\r\ny\r\n0\r\n\r\n");
});

testL7("a slow client slows the backend, a slow backend the client", {}, async (lb) => {
  const size = 500_000;
  const client = lb.connect();
  let uploaded = false;
  void client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n${noise(size)}`)
    .then(() => uploaded = true);
  const backend = await lb.accept();
  await settle();
  assertEquals(uploaded, false);
  assert(client.server.reader.bytesRead < 100_000, "little is read ahead of a slow backend");
  await backend.request();
  await settle();
  assertEquals(uploaded, true);
  let answered = false;
  void backend.send(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n${noise(size)}`)
    .then(() => answered = true);
  await settle();
  assertEquals(answered, false);
  const response = await client.response();
  assert(response.body === noise(size));
});

testL7("a malformed chunk that is there with the head never reaches a backend", {}, async (lb) => {
  const client = lb.connect();
  void client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n");
  const response = await client.response();
  assertEquals([response.status, response.get("connection")], [400, "close"]);
  assertEquals(JSON.parse(response.body).code, "bad_chunk");
  assert(await client.ended());
  assertEquals(lb.at().dials, 0);
});

testL7("a malformed chunk later cuts the backend off and is answered 400", {}, async (lb) => {
  for (
    const [bad, code] of [["x\r\n", "bad_chunk"], ["0\r\nX : y\r\n\r\n", "bad_field"]] as const
  ) {
    const client = lb.connect();
    await client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    const backend = await lb.accept();
    await backend.head();
    void client.send(bad);
    const response = await client.response();
    assertEquals([response.status, JSON.parse(response.body).code], [400, code]);
    assertEquals(response.get("connection"), "close");
    assertEquals(await backend.rest(), "1\r\na\r\n", "no end of the body is made up");
    assert(await client.ended());
    assertEquals(backend.closedByProxy, true);
  }
});

testL7("a body that the client breaks off is broken off towards the backend", {}, async (lb) => {
  for (
    const [framing, part] of [["Content-Length: 9", "abc"], [
      "Transfer-Encoding: chunked",
      "3\r\nabc",
    ]]
  ) {
    const client = lb.connect();
    void client.send(`POST / HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n${part}`).then(() =>
      client.end()
    );
    const backend = await lb.accept();
    await backend.head();
    const received = await backend.rest();
    assertEquals(received.includes("0\r\n\r\n"), false);
    assertEquals((await client.response()).status, 400);
    assert(await client.ended());
    assertEquals(backend.closedByProxy, true);
  }
});

testL7("an answer to half an upload is passed on, and both connections end", {}, async (lb) => {
  const client = lb.connect();
  await client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc");
  const backend = await lb.accept();
  await backend.head();
  void backend.send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
  const response = await client.response();
  assertEquals([response.status, response.body], [413, "big"]);
  assertEquals(response.get("connection"), "close");
  assert(await client.ended());
  await settle();
  assertEquals(backend.closedByProxy, true);
  client.close();
  await settle();
  assertEquals(client.finished, true);
});

testL7(
  "a client that goes on sending after such an answer is let go after a second",
  {},
  async (lb) => {
    const client = lb.connect();
    await client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc");
    const backend = await lb.accept();
    await backend.head();
    void backend.send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
    assertEquals((await client.response()).status, 413);
    assertEquals(await client.send("more"), true, "what still comes is read and thrown away");
    await settle();
    assertEquals(client.finished, false);
    await lb.time.expire(1_000);
    assertEquals(client.finished, true);
    assertEquals(await client.send("yet more"), false);
  },
);

testL7("an answer to half an upload that the backend ends with is passed on", {}, async (lb) => {
  const client = lb.connect();
  void client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n${noise(500_000)}`);
  const backend = await lb.accept();
  await backend.head();
  await backend.read(10_000);
  void backend.send("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
    .then(() => backend.close());
  const response = await client.response();
  assertEquals([response.status, response.body], [403, "no"]);
  client.close();
});

testL7("an upload goes on while the answer comes", {}, async (lb) => {
  const client = lb.connect();
  await client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
  const backend = await lb.accept();
  await backend.head();
  assertEquals(await backend.read(6), "1\r\na\r\n");
  void backend.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  assertEquals((await client.head())?.status, 200);
  for (const letter of "bcd") {
    void client.send(`1\r\n${letter}\r\n`);
    assertEquals(await backend.read(6), `1\r\n${letter}\r\n`);
    void backend.send(`1\r\n${letter}\r\n`);
    assertEquals(await client.read(6), `1\r\n${letter}\r\n`);
  }
  void client.send("0\r\n\r\n");
  assertEquals(await backend.read(5), "0\r\n\r\n");
  void backend.send("0\r\n\r\n");
  assertEquals(await client.read(5), "0\r\n\r\n");
});

testL7("an answer that breaks off is broken off towards the client", {}, async (lb) => {
  const partial = [
    "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
  ];
  for (const [i, answer] of partial.entries()) {
    for (const end of ["close", "reset"] as const) {
      const client = lb.connect();
      const asking = client.ask(GET);
      const backend = await lb.accept();
      void backend.answer(answer).then(() => backend[end]());
      await assertRejects(() => asking, Truncated, "ended inside", `case ${i}, ${end}`);
      await settle();
      assertEquals(client.finished, true);
    }
  }
  const client = lb.connect();
  const asking = client.ask(GET);
  const backend = await lb.accept();
  void backend.answer("HTTP/1.1 200 OK\r\n\r\nhalf").then(() => backend.reset());
  await assertRejects(() => asking, Truncated, "ended inside", "unframed, not ended in order");
});

testL7(
  "a chunked answer that is malformed is broken off, or refused if nothing went out",
  {},
  async (lb) => {
    const client = lb.connect();
    const refused = client.ask(GET);
    void (await lb.accept()).answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
    const response = await refused;
    assertEquals([response.status, JSON.parse(response.body).code], [502, "upstream_protocol"]);
    const cut = client.ask(GET);
    const backend = await lb.accept();
    await backend.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    void backend.send("zz\r\n");
    await assertRejects(() => cut, Truncated);
    await settle();
    assertEquals([backend.closedByProxy, client.finished], [true, true]);
  },
);
