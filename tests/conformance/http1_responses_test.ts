/**
 * Lets a backend answer with each response of the table as raw bytes and compares all that follows:
 * what the client gets, what becomes of the backend's connection, and that nobody else is disturbed.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { HttpL7, RouteBuilder } from "../../mod.ts";
import { COUNTS_DESCRIPTORS, descriptorCount, descriptorsBackTo, until } from "../support/net.ts";
import { cut, DELIVERIES, type Delivery, Pacer } from "../support/pieces.ts";
import {
  type BackendConnection,
  RawBackend,
  RawClient,
  type SeenRequest,
} from "../support/raw_http.ts";
import {
  MalformedError,
  parseMessage,
  type RawMessage,
  statusOf,
  valuesOf,
} from "../support/raw_message.ts";
import { SteadyClient } from "../support/steady_client.ts";
import { type Outcome, RESPONSE_CASES, type ResponseCase } from "./http1_responses.ts";

/** What the case's request goes out on. */
const UPSTREAMS = ["a new connection", "a used connection"] as const;
type Upstream = typeof UPSTREAMS[number];

const STEADY = "/steady/";
/** The end of paths that are answered with the end of the connection. */
const LAST = "last";

/** Answers with the request line. */
function echo(
  { startLine }: Pick<SeenRequest, "startLine">,
  connection: BackendConnection,
): Promise<void> {
  const close = startLine.includes(`${LAST} `) ? "Connection: close\r\n" : "";
  const head = `HTTP/1.1 200 OK\r\n${close}Content-Length: ${startLine.length}\r\n\r\n`;
  return connection.send(head + startLine);
}

/** A backend that answers `/case` as it is told, and all else with an echo. */
class CaseBackend {
  readonly #pacer: Pacer;
  readonly raw: Promise<RawBackend>;
  /** What `/case` is answered with. */
  item: ResponseCase | undefined;
  delivery: Delivery = "one write";
  /** The connections that `/case` came on. */
  asked: number[] = [];

  constructor(pacer: Pacer) {
    this.#pacer = pacer;
    this.raw = RawBackend.listen({
      onHead: (head, connection) => this.#answer(head.startLine, connection, true),
      respond: (request, connection) => this.#answer(request.startLine, connection, false),
    });
  }

  async #answer(startLine: string, connection: BackendConnection, early: boolean): Promise<void> {
    const path = startLine.split(" ")[1];
    const item = this.item!;
    if (path === "/case") {
      if (item.early !== early) return;
      this.asked.push(connection.id);
      const pieces = cut(item.response, this.delivery, item.id);
      await connection.sendPieces(pieces, this.#pacer);
      if (item.then === "close") connection.close();
      if (item.then === "reset") {
        // What has been sent must be read before the reset, which would throw it away.
        await this.#pacer.next();
        connection.reset();
      }
    } else if (!early) await echo({ startLine }, connection);
  }
}

/** The balancer under test and what is around it. */
interface Scene {
  readonly port: number;
  readonly backend: RawBackend;
  readonly script: CaseBackend;
}

Deno.test("each response of the table gets its verdict, however its bytes come", async (t) => {
  using pacer = await Pacer.open();
  const script = new CaseBackend(pacer);
  const backend = await script.raw;
  const steadyBackend = await RawBackend.listen({ respond: echo });
  const lb = new HttpL7({
    backends: [backend.addr],
    routes: [new RouteBuilder().path(STEADY).target(steadyBackend.addr).build()],
    fallback: true,
    timeouts: { shutdown: 2_000 },
  });
  const server = await lb.start("127.0.0.1:0");
  const { port } = server.addr as Deno.NetAddr;
  const pools = [[backend, "/"], [steadyBackend, STEADY]] as const;
  try {
    const warmUp = await SteadyClient.start(port, STEADY);
    await until(() => warmUp.answered > 1, "the first answers");
    await warmUp.stop();
    await emptyPools(port, pools);
    const descriptors = COUNTS_DESCRIPTORS ? descriptorCount() : 0;

    const steady = await SteadyClient.start(port, STEADY);
    for (const item of RESPONSE_CASES) {
      script.item = item;
      await t.step({
        name: `${item.id}: ${item.why} (RFC ${item.rfc})`,
        fn: () => runAllWays(item, { port, backend, script }),
        // Pooled connections outlive the step that opened them; the test as a whole is checked.
        sanitizeOps: false,
        sanitizeResources: false,
      });
    }
    await steady.stop();

    assertEquals(steady.errors, [], "a client of another backend was disturbed");
    assert(steady.answered > RESPONSE_CASES.length, `only ${steady.answered} steady requests`);
    await emptyPools(port, pools);
    for (const { in_flight, connections } of lb.backends()) {
      assertEquals({ in_flight, ...connections }, { in_flight: 0, idle: 0, active: 0 });
    }
    await descriptorsBackTo(descriptors);
  } finally {
    await server.shutdown();
    await lb.close();
    await backend.close();
    await steadyBackend.close();
  }
});

/** Has the pooled connections closed, one by one, and waits for that. */
async function emptyPools(
  port: number,
  pools: readonly (readonly [backend: RawBackend, prefix: string])[],
): Promise<void> {
  for (const [backend, prefix] of pools) {
    while (backend.open.length > 0) {
      const client = await RawClient.connect(port);
      await ask(client, prefix + LAST);
      await client.close();
      const { connection } = backend.requests.at(-1)!;
      await backend.gone(connection);
    }
  }
}

async function runAllWays(item: ResponseCase, scene: Scene): Promise<void> {
  for (const upstream of UPSTREAMS) {
    for (const delivery of DELIVERIES) {
      try {
        await run(item, upstream, delivery, scene);
      } catch (error) {
        throw new Error(`on ${upstream} in ${delivery}: ${(error as Error).message}`, {
          cause: error,
        });
      }
    }
  }
}

/** Makes a case's request once and checks everything that comes of it. */
async function run(
  item: ResponseCase,
  upstream: Upstream,
  delivery: Delivery,
  { port, backend, script }: Scene,
): Promise<void> {
  script.delivery = delivery;
  script.asked = [];
  const client = await RawClient.connect(port);
  try {
    // Either takes the connection that is pooled, if there is one, and the first one ends it.
    if (upstream === "a new connection") await ask(client, `/${LAST}`);
    else assertEquals((await ask(client, "/used")).body, "GET /used HTTP/1.1");
    await client.send(item.request);
    await checkInterim(item, client);
    const isWhole = await checkOutcome(item, client, delivery);

    const tries = item.retried && upstream === "a used connection" ? 2 : 1;
    assertEquals(script.asked.length, tries, "how often the backend was asked");
    const last = script.asked.at(-1)!;
    if (!item.reuse) await backend.gone(last);
    const next = isWhole && !item.closes ? client : await RawClient.connect(port);
    try {
      await checkNextRequest(item, next, last, backend);
    } finally {
      if (next !== client) await next.close();
    }
  } finally {
    await client.close();
  }
}

async function ask(client: RawClient, path: string): Promise<RawMessage> {
  await client.send(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
  return await client.response();
}

async function checkInterim(item: ResponseCase, client: RawClient): Promise<void> {
  const seen: unknown[] = [];
  for (const _ of item.interim) {
    const response = await client.response();
    seen.push([statusOf(response), ...response.fields]);
  }
  assertEquals(seen, item.interim.map((interim) => [...interim]));
}

/** Checks what the client gets; whether that is a whole response, a refusal among them. */
async function checkOutcome(
  item: ResponseCase,
  client: RawClient,
  delivery: Delivery,
): Promise<boolean> {
  const { outcome } = item;
  let refusal = outcome.type === "refused" ? outcome.code : undefined;
  if (outcome.type === "refused or cut") {
    await until(() => client.unread.includes("\r\n"), "a status line");
    const mayBeCut = delivery !== "one write";
    if (!mayBeCut || client.unread.startsWith("HTTP/1.1 502 ")) refusal = "upstream_protocol";
  }
  if (refusal === undefined && outcome.type !== "whole") {
    checkCut(outcome as Extract<Outcome, { type: "cut" }>, await client.rest());
    return false;
  }
  const response = await client.response(item.request.startsWith("HEAD ") ? "HEAD" : "GET");
  if (refusal === undefined) checkWhole(item, response);
  else checkRefusal(response, refusal);
  if (item.closes) {
    assertEquals(valuesOf(response, "connection"), ["close"]);
    assertEquals(await client.rest(), "", "something follows the last response");
    assertEquals(client.ended, "eof");
  }
  return true;
}

function checkWhole(item: ResponseCase, response: RawMessage): void {
  const { status, fields, body, trailers } = item.outcome as Extract<Outcome, { type: "whole" }>;
  assertEquals(statusOf(response), status);
  const date = valuesOf(response, "date");
  assertEquals(date.length, 1, "a response has one Date");
  assertMatch(date[0]!, /^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/);
  const added = item.response.includes("\r\nDate: ") ? undefined : `Date: ${date[0]}`;
  const seen = {
    fields: response.fields.filter((line) => line !== added),
    body: response.body,
    trailers: response.trailers,
  };
  assertEquals(seen, { fields: [...fields], body, trailers: [...trailers] });
}

function checkRefusal(response: RawMessage, code: string): void {
  assertEquals(statusOf(response), 502, response.body);
  assertEquals(valuesOf(response, "content-type"), ["application/problem+json"]);
  assertEquals(JSON.parse(response.body).code, code);
}

/** Checks that a response is not complete, and as far as it got what it should be. */
function checkCut(expected: { readonly status: number; readonly body: string }, text: string) {
  assert(text.startsWith(`HTTP/1.1 ${expected.status} `), text.slice(0, 200));
  const kind = { type: "response", method: "GET", ended: true } as const;
  let found: ReturnType<typeof parseMessage>;
  try {
    found = parseMessage(text, kind);
  } catch (error) {
    assert(error instanceof MalformedError, `${error}`);
  }
  assertEquals(found, undefined, "the response looks complete");
  const content = text.slice(text.indexOf("\r\n\r\n") + 4)
    .replace(/[0-9a-f]+\r\n([^\r]*)(?:\r\n|$)/g, "$1");
  assert(expected.body.startsWith(content), `other content: ${JSON.stringify(content)}`);
}

/** Checks what the next request gets, and on which connection the backend is asked. */
async function checkNextRequest(
  item: ResponseCase,
  client: RawClient,
  previous: number,
  backend: RawBackend,
): Promise<void> {
  backend.forget();
  assertEquals((await ask(client, "/next")).body, "GET /next HTTP/1.1");
  const [{ connection }] = backend.requests as [SeenRequest];
  assertEquals(connection === previous, item.reuse, "whether the connection is used again");
  await client.end();
  assertEquals(await client.rest(), "", "something follows the last response");
}
