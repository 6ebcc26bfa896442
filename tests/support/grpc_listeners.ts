/**
 * The listeners that speak HTTP/2, for tests that every one of them must pass.
 *
 * @module
 */
import { GrpcL4, GrpcL7, type HttpL7Options, Mux } from "../../mod.ts";
import { H2Client } from "./h2_peer.ts";
import { delay, until } from "./net.ts";
import { Wire, type WireOptions } from "./h2_wire.ts";

/** A kind of listener. */
export interface GrpcListener {
  /** The name of its command. */
  readonly name: string;
  /** The layer of what it does with calls. */
  readonly layer: "l7" | "l4";
  /** Makes a balancer whose backends and routes are for gRPC. */
  readonly make: (options: HttpL7Options) => GrpcBalancer;
}

/** A balancer that takes calls. */
export type GrpcBalancer = GrpcL7 | GrpcL4 | Mux;

/** All of them. */
export const GRPC_LISTENERS: readonly GrpcListener[] = [
  { name: "grpc-l7", layer: "l7", make: (options) => new GrpcL7(options) },
  { name: "grpc-l4", layer: "l4", make: (options) => new GrpcL4(options) },
  {
    name: "mux",
    layer: "l7",
    make: ({ backends = [], routes = [], ...options }) =>
      new Mux({ ...options, grpc: { backends, routes } }),
  },
];

/** How long a balancer of a test waits at its end for what the test left open, in milliseconds. */
const SHUTDOWN_MS = 2000;

/** A balancer that listens, and connections to it; all is closed at the end. */
export class GrpcScene implements AsyncDisposable {
  readonly lb: GrpcBalancer;
  addr!: Deno.Addr;
  readonly #kind: GrpcListener;
  readonly #open: AsyncDisposable[] = [];

  private constructor(kind: GrpcListener, lb: GrpcBalancer) {
    this.#kind = kind;
    this.lb = lb;
  }

  /** Lets a balancer of the given kind listen. */
  static async open(kind: GrpcListener, options: HttpL7Options): Promise<GrpcScene> {
    const timeouts = { shutdown: SHUTDOWN_MS, ...options.timeouts };
    const scene = new GrpcScene(kind, kind.make({ ...options, timeouts }));
    scene.addr = (await scene.lb.start("127.0.0.1:0")).addr;
    return scene;
  }

  /** A client that sends and sees frames. */
  async wire(options: WireOptions = {}): Promise<Wire> {
    const wire = await Wire.open(this.addr, options);
    this.#open.push(wire);
    return wire;
  }

  /** A client on our own engine. */
  async client(): Promise<H2Client> {
    const client = await H2Client.connect(this.addr);
    this.#open.push(client);
    return client;
  }

  /** How often something was refused for this reason. */
  refusals(reason: string): number {
    return this.lb.metrics.listener(this.lb.name).refusals.get(reason) ?? 0;
  }

  /**
   * Waits until nothing is in flight at any backend. At layer 4, where that is connections, until no call is under way
   * and no connection has lost its client.
   */
  async idle(): Promise<void> {
    const { lb } = this;
    const metrics = lb.metrics.listener(lb.name);
    const layer4 = this.#kind.layer === "l4";
    const busy = () => {
      const inFlight = lb.backends().reduce((sum, { in_flight }) => sum + in_flight, 0);
      if (!layer4) return inFlight;
      const calls = [...metrics.grpc.series()].reduce((sum, { active }) => sum + active, 0);
      return calls + Math.max(0, inFlight - metrics.connectionsActive);
    };
    await until(() => busy() === 0, () => `in flight: ${busy()}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.#open) await one[Symbol.asyncDispose]();
    await this.lb.close();
  }
}

/** Milliseconds between an answer and the next call. */
const PAUSE_MS = 3;

/** A client that does nothing wrong, beside those that do: one call after the other, over one connection. */
export class SteadyCaller implements AsyncDisposable {
  readonly #client: H2Client;
  readonly #run: Promise<void>;
  #stopped = false;
  /** Calls that came to what they should. */
  answered = 0;
  /** What went wrong. */
  readonly errors: string[] = [];
  /** How long each call took, in milliseconds. */
  readonly durations: number[] = [];

  private constructor(client: H2Client) {
    this.#client = client;
    this.#run = this.#call();
  }

  /** Begins to call. */
  static async start(addr: Deno.Addr): Promise<SteadyCaller> {
    return new SteadyCaller(await H2Client.connect(addr));
  }

  async #call(): Promise<void> {
    while (!this.#stopped && this.errors.length === 0) {
      const started = performance.now();
      const call = await this.#client.call("/steady", { content: "ask" }).done;
      this.durations.push(performance.now() - started);
      const status = call.value("grpc-status");
      if (status === "0") this.answered++;
      else this.errors.push(`status ${status}, ${JSON.stringify(call.reset)}`);
      await delay(PAUSE_MS);
    }
  }

  /** Ends behind the call under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#run;
    await this.#client[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
