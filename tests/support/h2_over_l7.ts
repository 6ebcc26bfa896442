/**
 * The layer 7 balancer of `l7.ts` behind an HTTP/2 connection over memory: its client speaks HTTP/2 on our own
 * engine, its scripted backends HTTP/1.1.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { PeerAddress } from "../../lib/common/duplex.ts";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";
import { GrpcConnection } from "../../lib/grpc/l7/connection.ts";
import { RequestHead } from "../../lib/http/h1/request.ts";
import { ResponseHead } from "../../lib/http/h1/response.ts";
import type { H2Options } from "../../lib/http/h2/connection.ts";
import type { HttpContext } from "../../lib/http/l7/context.ts";
import type { Scratch } from "../../lib/http/l7/downstream.ts";
import { H2Http } from "../../lib/http/l7/h2_exchange.ts";
import { Planner } from "../../lib/http/l7/plan.ts";
import { settle } from "./fake_clock.ts";
import { encodeBlock, Exchange, type Fields, H2Client } from "./h2_peer.ts";
import { L7, type L7Options } from "./l7.ts";

const CLIENT: PeerAddress = { hostname: "192.0.2.1", port: 50_000 };
const LISTENER: PeerAddress = { hostname: "198.51.100.1", port: 8080 };

/** The head of a request unless a test gives another. */
export const GET: Fields = [
  [":method", "GET"],
  [":scheme", "http"],
  [":path", "/a"],
  [":authority", "test"],
];

/** That head with other pseudo-fields in their place, and further fields behind them. */
export function head(...fields: Fields): Fields {
  const pseudo = new Map(fields.filter(([name]) => name.startsWith(":")));
  return [
    ...GET.map(([name, value]) => [name, pseudo.get(name) ?? value] as const),
    ...fields.filter(([name]) => !name.startsWith(":")),
  ];
}

function makeScratch(context: HttpContext): Scratch {
  return {
    request: new RequestHead(context.limits),
    response: new ResponseHead(context.limits),
    planner: new Planner(context.registry, context.recovery.rules),
  };
}

/** How a client asks. */
export interface AskOptions {
  /** Content that is sent at once; none unless given. */
  readonly content?: string | Uint8Array;
  /** Whether more follows. */
  readonly open?: boolean;
  /** Whether what comes is given back to the windows at once. Default true. */
  readonly reads?: boolean;
}

/** The connection. */
export class H2Front {
  readonly client: H2Client;
  /** The balancer's end. */
  readonly server: GrpcConnection;
  readonly #served: Promise<void>;

  constructor(lb: L7, h2: Partial<H2Options> = {}) {
    const { context } = lb;
    const { clock } = lb.time;
    const [ours, theirs] = makeMemoryPair(CLIENT, LISTENER);
    this.server = new GrpcConnection(theirs, {
      services: undefined,
      planner: new Planner(lb.registry, context.recovery.rules),
      recovery: context.recovery,
      clock,
      h2: {},
      forwarded: "off",
      isTrusted: () => false,
      maxAttempts: context.maxAttempts,
      metrics: context.metrics,
      accessLog: context.accessLog,
      http: new H2Http(context, makeScratch),
    });
    this.#served = this.server.serve();
    this.client = new H2Client(ours, { clock, h2 });
  }

  /** Begins a request with these fields, as they are. */
  ask(fields: Fields = GET, { content, open = false, reads = true }: AskOptions = {}): Exchange {
    const exchange = new Exchange();
    exchange.reads = reads;
    exchange.stream = this.client.connection.openStream(encodeBlock(fields), {
      endStream: content === undefined && !open,
      noBody: fields.some(([name, value]) => name === ":method" && value === "HEAD"),
      listener: exchange,
    });
    if (content !== undefined) this.client.send(exchange, content, !open);
    return exchange;
  }

  /** Waits until an exchange has ended; no time passes. */
  async end(exchange: Exchange): Promise<Exchange> {
    for (let i = 0; i < 300 && !exchange.ended; i++) await settle();
    assertEquals(exchange.ended, true, "the exchange has ended");
    return exchange;
  }

  /** Asks and waits for the answer. */
  async get(fields?: Fields, options?: AskOptions): Promise<Exchange> {
    return await this.end(this.ask(fields, options));
  }

  async close(): Promise<void> {
    this.client.connection.abort();
    await this.client.connection.finished;
    await this.#served;
    await settle();
  }
}

/** A test of requests over HTTP/2 that must leave nothing behind. */
export function testH2OverL7(
  name: string,
  options: L7Options,
  run: (lb: L7, front: H2Front) => Promise<void>,
): void {
  Deno.test(name, async () => {
    const lb = new L7(options);
    const front = new H2Front(lb);
    await front.client.ready;
    await run(lb, front);
    await front.close();
    await lb.assertSettled();
  });
}

/** What a problem document says is wrong. */
export function codeOf(exchange: Exchange): string {
  assertEquals(exchange.value("content-type"), "application/problem+json");
  return JSON.parse(exchange.text).code;
}

/** Waits for what promises alone bring about. */
export async function settleAll(rounds = 8): Promise<void> {
  for (let i = 0; i < rounds; i++) await settle();
}
