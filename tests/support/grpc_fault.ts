/**
 * gRPC exchanges with one peer that misbehaves, and what must hold beside them: calls of well-behaved clients to a
 * well-behaved backend come to what they should, and nothing is left over.
 *
 * @module
 */
import { assert } from "@std/assert";
import { GrpcL7, type HttpL7Options, RouteBuilder, type Timeouts } from "../../mod.ts";
import { besideClients } from "./clean_traffic.ts";
import { type CallOptions, type Exchange, H2Backend, H2Client } from "./h2_peer.ts";
import { Wire, WireBackend, type WireOptions, type WireScript } from "./h2_wire.ts";
import {
  descriptorCount,
  descriptorsBackTo,
  type Peer,
  type Scripted,
  serveScript,
  until,
  within,
} from "./net.ts";

/** How long a scene may take, in milliseconds. */
const SCENE_MS = 60_000;

/** What came of a call. */
export interface Outcome {
  /** `grpc-status`, in a head or in trailers. */
  readonly status: string | undefined;
  /** `grpc-message`. */
  readonly message: string | undefined;
  /** The code of RST_STREAM, if it came. */
  readonly reset: number | undefined;
  /** The content. */
  readonly text: string;
  /** How many heads came. */
  readonly heads: number;
}

/**
 * So short that what is waited for in vain is given up soon, and so long that clean calls keep to them though the machine
 * stops everything for a while.
 */
export const FAULT_TIMEOUTS: Timeouts = {
  connect: 2_500,
  requestHead: 2_500,
  poolWait: 2_500,
  shutdown: 1_000,
};

/** The path of a call to the backend that misbehaves. */
export const BAD = "/bad.S/M";
/** The path of a call to the one that does not. */
const CLEAN = "/clean.S/M";

/** What the balancer and its clients are made of. */
export interface GrpcFaultScene {
  readonly lb: GrpcL7;
  readonly addr: Deno.Addr;
  /** A client on our own engine, which makes clean calls too; closed at the end. */
  readonly client: H2Client;
  /** Opens a connection that the test speaks frame by frame; closed at the end. */
  wire(options?: WireOptions): Promise<Wire>;
  /** Calls the backend that misbehaves, and waits for the end. */
  call(options?: CallOptions): Promise<Outcome>;
  /** The same without waiting. */
  begin(options?: CallOptions): Exchange;
}

/** Calls a backend that answers as it should, once. */
export async function callClean(client: H2Client): Promise<void> {
  const call = await client.call(CLEAN, { content: "ask" }).done;
  const seen = JSON.stringify({ ...outcomeOf(call), why: call.reset?.detail });
  assert(
    call.value("grpc-status") === "0" && call.text === "hello",
    `a clean call was disturbed: ${seen}`,
  );
}

/** What a test of a misbehaving peer is made of. */
export interface GrpcFaultOptions {
  /** Options of the balancer beside routes. */
  readonly options?: HttpL7Options;
}

/**
 * Runs a scene in front of the backends at `targets` beside clean calls, some of them on the same client connection,
 * and looks that nothing is left over.
 */
export async function besideCleanCalls(
  targets: readonly string[],
  scene: (scene: GrpcFaultScene) => Promise<void>,
  { options = {} }: GrpcFaultOptions = {},
): Promise<void> {
  await using clean = H2Backend.listen();
  const route = new RouteBuilder().service("bad.S");
  for (const target of targets) route.target(target);
  const lb = new GrpcL7({
    backends: [clean.addr],
    routes: [route.build()],
    fallback: true,
    ...options,
    timeouts: { ...FAULT_TIMEOUTS, ...options.timeouts },
  });
  const opened: AsyncDisposable[] = [];
  try {
    const { addr } = await lb.start("127.0.0.1:0");
    const client = await H2Client.connect(addr);
    const other = await H2Client.connect(addr);
    opened.push(client, other);
    const beside = [client, other].map((client) => () => callClean(client));
    const begin = (call: CallOptions = {}) => client.call(BAD, { content: "ask", ...call });
    await besideClients(beside, () =>
      within(
        SCENE_MS,
        "the scene",
        scene({
          lb,
          addr,
          client,
          begin,
          async call(options) {
            const exchange = begin(options);
            await exchange.done;
            return outcomeOf(exchange);
          },
          async wire(options) {
            const wire = await Wire.open(addr, options);
            opened.push(wire);
            return wire;
          },
        }),
      ));
    const busy = () => lb.backends().filter(({ in_flight }) => in_flight > 0);
    await until(() => busy().length === 0, () => `in flight: ${JSON.stringify(busy())}`);
  } finally {
    for (const one of opened) await one[Symbol.asyncDispose]();
    await lb.close();
  }
}

/** What came of a call, for comparison. */
function outcomeOf(exchange: Exchange): Outcome {
  return {
    status: exchange.value("grpc-status"),
    message: exchange.value("grpc-message"),
    reset: exchange.reset?.code,
    text: exchange.text,
    heads: exchange.heads.length,
  };
}

/** A test of a backend that speaks HTTP/2, frame by frame. */
export function h2Fault(
  name: string,
  script: WireScript,
  scene: (scene: GrpcFaultScene & { readonly faulty: WireBackend }) => Promise<void>,
  { wire, ...rest }: GrpcFaultOptions & { readonly wire?: WireOptions } = {},
): void {
  Deno.test(name, async () => {
    const before = descriptorCount();
    {
      await using faulty = WireBackend.listen(script, wire);
      await besideCleanCalls([faulty.addr], (common) => scene({ ...common, faulty }), rest);
    }
    await descriptorsBackTo(before);
  });
}

/** A test of a backend that does with its connections what a script says, and may speak no HTTP/2 at all. */
export function rawFault(
  name: string,
  script: (peer: Peer, index: number) => void | Promise<void>,
  scene: (scene: GrpcFaultScene & { readonly faulty: Scripted }) => Promise<void>,
  { scheme = "", ...rest }: GrpcFaultOptions & { readonly scheme?: string } = {},
): void {
  Deno.test(name, async () => {
    const before = descriptorCount();
    {
      await using faulty = await serveScript(script);
      const target = `${scheme}${faulty.addr}`;
      await besideCleanCalls([target], (common) => scene({ ...common, faulty }), rest);
    }
    await descriptorsBackTo(before);
  });
}
