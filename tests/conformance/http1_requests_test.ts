/**
 * Sends each request of the table as raw bytes and compares all that follows: every answer, every byte
 * that reaches the backend, and that nobody else is disturbed.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { HttpL7 } from "../../mod.ts";
import { COUNTS_DESCRIPTORS, descriptorCount, descriptorsBackTo, until } from "../support/net.ts";
import { cut, DELIVERIES, type Delivery, Pacer } from "../support/pieces.ts";
import {
  type BackendConnection,
  RawBackend,
  RawClient,
  type SeenRequest,
} from "../support/raw_http.ts";
import { type RawMessage, statusOf, toText, valuesOf } from "../support/raw_message.ts";
import { SteadyClient } from "../support/steady_client.ts";
import { type Forwarded, LISTENER, REQUEST_CASES, type RequestCase } from "./http1_requests.ts";

/** Where the bytes of a case stand on their connection. */
const POSITIONS = ["first", "second", "pipelined"] as const;
type Position = typeof POSITIONS[number];

const FIRST_LINE = "GET /first HTTP/1.1";
const FIRST = `${FIRST_LINE}\r\nHost: first\r\n\r\n`;
const STEADY = "/steady/";
/** The proxy reads so many bytes of an idle connection at once. */
const ONE_READ = 1000;
/** Milliseconds after which the proxy lets go of unused connections to the backend. */
const UPSTREAM_IDLE = 200;
/** Fields that the proxy writes of its own accord, in lower case. */
const OWN_FIELDS = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id"];

/** Answers with the request line. */
function echo(request: SeenRequest, connection: BackendConnection): Promise<void> {
  const { startLine } = request;
  const body = startLine.startsWith("HEAD ") ? "" : startLine;
  return connection.send(`HTTP/1.1 200 OK\r\nContent-Length: ${startLine.length}\r\n\r\n${body}`);
}

/** The balancer under test and what is around it. */
interface Scene {
  readonly port: number;
  readonly backend: RawBackend;
  readonly pacer: Pacer;
}

Deno.test("each request of the table gets its verdict, however and wherever its bytes come", async (t) => {
  using pacer = await Pacer.open();
  const backend = await RawBackend.listen({ respond: echo });
  const lb = new HttpL7({
    backends: [backend.addr],
    timeouts: { upstreamIdle: UPSTREAM_IDLE, shutdown: 2_000 },
  });
  const server = await lb.start("127.0.0.1:0");
  const { port } = server.addr as Deno.NetAddr;
  try {
    const warmUp = await RawClient.connect(port);
    await warmUp.send(FIRST);
    await warmUp.response();
    await warmUp.close();
    await until(() => backend.open.length === 0, "the pool to be empty before the cases");
    const descriptors = COUNTS_DESCRIPTORS ? descriptorCount() : 0;

    const steady = await SteadyClient.start(port, STEADY);
    for (const item of REQUEST_CASES) {
      await t.step({
        name: `${item.id}: ${item.why} (RFC ${item.rfc})`,
        fn: () => runAllWays(item, { port, backend, pacer }),
        // Pooled connections outlive the step that opened them; the test as a whole is checked.
        sanitizeOps: false,
        sanitizeResources: false,
      });
    }
    await steady.stop();

    assertEquals(steady.errors, [], "a client that did nothing wrong was disturbed");
    assert(steady.answered > REQUEST_CASES.length, `only ${steady.answered} steady requests`);
    await until(() => backend.open.length === 0, "the pool to be empty again");
    assertEquals(lb.backends().map(({ in_flight }) => in_flight), [0]);
    await descriptorsBackTo(descriptors);
  } finally {
    await server.shutdown();
    await lb.close();
    await backend.close();
  }
});

/** Clients at a time, and how often, where all that arrives shall arrive in one turn of the event loop. */
const CROWD = 24;
const ROUNDS = 20;

Deno.test("requests, and responses, that arrive in the same turn are not mixed up", async () => {
  using pacer = await Pacer.open();
  const waiting: (() => Promise<void>)[] = [];
  const backend = await RawBackend.listen({
    respond(request, connection) {
      const [, id] = request.startLine.match(/^\w+ \/(\d+) /)!;
      assertEquals(valuesOf(request, "x-id"), [id], "fields of another request");
      assertEquals(request.body, id, "the body of another request");
      const head = `HTTP/1.1 ${200 + Number(id) % 2} ${id}\r\nX-Id: ${id}\r\n`;
      waiting.push(() => connection.send(`${head}Content-Length: ${id!.length}\r\n\r\n${id}`));
      if (waiting.length === CROWD) return void waiting.splice(0).forEach((answer) => answer());
    },
  });
  const lb = new HttpL7({ backends: [backend.addr], timeouts: { shutdown: 2_000 } });
  const server = await lb.start("127.0.0.1:0");
  const { port } = server.addr as Deno.NetAddr;
  const clients = await Promise.all(Array.from({ length: CROWD }, () => RawClient.connect(port)));
  try {
    for (let round = 1; round <= ROUNDS; round++) {
      await pacer.next();
      const ids = clients.map((_, i) => String(round * 1000 + i));
      await Promise.all(clients.map((client, i) => {
        const head = `POST /${ids[i]} HTTP/1.1\r\nHost: h${i}\r\nX-Id: ${ids[i]}\r\n`;
        return client.send(`${head}Content-Length: ${ids[i]!.length}\r\n\r\n${ids[i]}`);
      }));
      for (const [i, client] of clients.entries()) {
        const response = await client.response();
        const id = ids[i]!;
        assertEquals(response.startLine, `HTTP/1.1 ${200 + Number(id) % 2} ${id}`);
        assertEquals([response.body, ...valuesOf(response, "x-id")], [id, id]);
      }
    }
    assertEquals(backend.malformed, []);
  } finally {
    await Promise.all(clients.map((client) => client.close()));
    await server.shutdown();
    await lb.close();
    await backend.close();
  }
});

Deno.test("a client that is refused and reads late still gets the answer (RFC 9112, 9.6)", async () => {
  using pacer = await Pacer.open();
  const lb = new HttpL7();
  const server = await lb.start("127.0.0.1:0");
  const { hostname, port } = server.addr as Deno.NetAddr;
  const conn = await Deno.connect({ hostname, port });
  try {
    // A connection that is closed with bytes unread is reset, and the answer is lost.
    const piece = new Uint8Array(4096).fill(0x61);
    for (let i = 0; i < 40; i++) {
      for (let at = 0; at < piece.length;) at += await conn.write(piece.subarray(at));
      await pacer.next();
    }
    const answer = new Uint8Array(4096);
    const count = await conn.read(answer);
    assertMatch(toText(answer.subarray(0, count ?? 0)), /^HTTP\/1\.1 501 /);
    assertEquals(await conn.read(answer), null);
  } finally {
    conn.close();
    await server.shutdown();
    await lb.close();
  }
});

async function runAllWays(item: RequestCase, scene: Scene): Promise<void> {
  for (const position of POSITIONS) {
    for (const delivery of DELIVERIES) {
      try {
        await run(item, position, delivery, scene);
      } catch (error) {
        throw new Error(`as ${position} in ${delivery}: ${(error as Error).message}`, {
          cause: error,
        });
      }
    }
  }
}

/** Sends a case once and checks everything that comes of it. */
async function run(
  item: RequestCase,
  position: Position,
  delivery: Delivery,
  { port, backend, pacer }: Scene,
): Promise<void> {
  backend.forget();
  const client = await RawClient.connect(port);
  try {
    const expected = item.forwarded.map((request) => place(request, port));
    if (position === "second") {
      await client.send(FIRST);
      assertEquals((await client.response()).body, FIRST_LINE);
    }
    const bytes = position === "pipelined" ? FIRST + item.request : item.request;
    await client.sendPieces(cut(bytes, delivery, item.id + position), pacer);
    if (item.end) await client.end();
    if (position === "pipelined") assertEquals((await client.response()).body, FIRST_LINE);
    await checkAnswers(item, client);

    // What the proxy has sent to the backend is read there before it is counted.
    await pacer.next();
    await backend.settled();
    const seen = backend.requests.filter(({ startLine }) => !startLine.includes(STEADY));
    if (position !== "first") assertEquals(seen.shift()?.startLine, FIRST_LINE);
    assertEquals(seen.map(describeSeen), expected);
    assertEquals(backend.malformed, [], "malformed bytes reached the backend");
    const atOnce = delivery === "one write" && position === "first" && !item.end &&
      item.interim.length === 0 && item.request.length < ONE_READ;
    checkUnfinished(backend.unfinished, item.inBody && !atOnce);
  } finally {
    await client.close();
  }
}

/** Reads all responses, and the end of the connection if that is due. */
async function checkAnswers(item: RequestCase, client: RawClient): Promise<void> {
  const interim: number[] = [];
  const answers: number[] = [];
  let last: RawMessage | undefined;
  for (let i = 0; i < item.answers.length; i++) {
    const line = item.forwarded[i]?.head[0];
    const [method = "GET"] = line?.split(" ") ?? [];
    for (;;) {
      last = await client.response(method);
      if (statusOf(last) >= 200) break;
      interim.push(statusOf(last));
    }
    answers.push(statusOf(last));
    if (line !== undefined) assertEquals(last.body, method === "HEAD" ? "" : line);
  }
  assertEquals(answers, item.answers, last?.body);
  assertEquals(interim, item.interim);
  if (item.verdict === "reject") {
    assertEquals(valuesOf(last!, "content-type"), ["application/problem+json"]);
    const problem = JSON.parse(last!.body);
    assertEquals([problem.status, problem.code], [answers.at(-1), item.code]);
  }
  if (!item.end) assertEquals(valuesOf(last!, "connection"), item.closes ? ["close"] : []);
  // Where the connection stays open, the client ends it: then nothing more may come either.
  if (!item.closes) await client.end();
  assertEquals(await client.rest(), "", "something follows the last response");
  assertEquals(client.ended, "eof");
}

/** What a case expects, as {@linkcode describeSeen} puts it. */
function place(request: Forwarded, port: number): unknown {
  const { body, trailers, requestId } = request;
  const host = request.head.find((line) => line.startsWith("Host: "))!.slice("Host: ".length);
  const own = {
    "x-forwarded-for": ["127.0.0.1"],
    "x-forwarded-proto": ["http"],
    // HTTP/1.0 without Host names none, so there is none to pass on.
    "x-forwarded-host": host === LISTENER ? [] : [host],
    "x-request-id": [requestId ?? NEW_ID],
  };
  const head = request.head.map((line) => line.replace(LISTENER, `127.0.0.1:${port}`));
  return { head, own, body, trailers };
}

const NEW_ID = "<new>";

function describeSeen(request: SeenRequest): unknown {
  const isOwn = (line: string) =>
    OWN_FIELDS.includes(line.slice(0, line.indexOf(":")).toLowerCase());
  const own = Object.fromEntries(OWN_FIELDS.map((name) => [name, valuesOf(request, name)]));
  own["x-request-id"] = own["x-request-id"]!.map((id) => /^[\w-]{16,64}$/.test(id) ? NEW_ID : id);
  const head = [request.startLine, ...request.fields.filter((line) => !isOwn(line))];
  return { head, own, body: request.body, trailers: request.trailers };
}

function checkUnfinished(unfinished: readonly string[], allowed: boolean): void {
  if (!allowed) return assertEquals(unfinished, [], "the begin of a request reached the backend");
  assert(unfinished.length <= 1, "one request reached the backend in several pieces");
  for (const text of unfinished) {
    assertMatch(text, /^POST \/ HTTP\/1\.1\r\n/);
    assertStringIncludes(text, "\r\n\r\n");
  }
}
