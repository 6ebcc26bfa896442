/**
 * The gRPC part of the demo.
 *
 * @module
 */
import { GrpcL7, RouteBuilder, type Server } from "../../../mod.ts";
import type { LiveBackend } from "../../backend/backend.ts";
import { connect } from "../../backend/connector.ts";
import { Registry } from "../../backend/registry.ts";
import { Clock } from "../../common/clock.ts";
import { callBackend, GrpcCallError } from "../../grpc/client.ts";
import { DEFAULT_POOL } from "../../load_balancer/options.ts";
import { STATUS_LABELS } from "../../observe/grpc_metrics.ts";
import type { Style } from "../style.ts";
import { GrpcServer } from "./grpc_server.ts";
import {
  countUp,
  type DemoPart,
  formatAddresses,
  formatCounts,
  hostOf,
  isSame,
  type Result,
  startPreferably,
} from "./part.ts";
import { encodeRequest, makeHandlers, SHOP } from "./shop.ts";

const PREFERRED = "127.0.0.1:9090";
const NAMES = ["blue", "green", "canary"] as const;
/** How long a call may take, in milliseconds. */
const TIMEOUT = 5000;

type Name = typeof NAMES[number];

/** Calls of one kind, how often each backend must answer them, and with which status. */
interface Trial {
  readonly route: string;
  readonly method: string;
  readonly type: string;
  readonly request: Readonly<Record<string, unknown>>;
  readonly count: number;
  readonly expected: Readonly<Record<string, number>>;
}

const TRIALS: readonly Trial[] = [
  {
    route: "no route: all in turn",
    method: `${SHOP}/Price`,
    type: "PriceRequest",
    request: { item: "tea" },
    count: 20,
    expected: { "blue OK": 10, "green OK": 10 },
  },
  {
    route: "by method",
    method: `${SHOP}/Order`,
    type: "OrderRequest",
    request: { item: "cup", count: 2 },
    count: 10,
    expected: { "canary OK": 10 },
  },
  {
    route: "a call that fails",
    method: `${SHOP}/Price`,
    type: "PriceRequest",
    request: { item: "gold" },
    count: 4,
    expected: { "blue NOT_FOUND": 2, "green NOT_FOUND": 2 },
  },
  {
    route: "no such method",
    method: `${SHOP}/Steal`,
    type: "PriceRequest",
    request: { item: "tea" },
    count: 2,
    expected: { "blue UNIMPLEMENTED": 1, "green UNIMPLEMENTED": 1 },
  },
];

/** Three gRPC backends, a balancer and a client. */
export class GrpcDemo implements DemoPart {
  readonly #backends: readonly GrpcServer[];
  readonly #addresses: Readonly<Record<Name, string>>;
  readonly #balancer: GrpcL7;
  readonly #clock = new Clock();
  #server: Server | undefined;
  /** The balancer, as a client sees it. */
  #target: LiveBackend | undefined;

  private constructor() {
    this.#backends = NAMES.map((name) => new GrpcServer(makeHandlers(name)));
    const [blue, green, canary] = this.#backends.map(({ addr }) => addr);
    this.#addresses = { blue: blue!, green: green!, canary: canary! };
    this.#balancer = new GrpcL7({
      backends: [blue!, green!],
      routes: [new RouteBuilder().service(SHOP).method("Order").target(canary!).build()],
      fallback: true,
    });
  }

  /** Starts them. */
  static async start(): Promise<GrpcDemo> {
    const demo = new GrpcDemo();
    try {
      demo.#server = await startPreferably(demo.#balancer, PREFERRED);
    } catch (error) {
      await demo[Symbol.asyncDispose]();
      throw error;
    }
    const client = new Registry({
      strategy: "round-robin",
      scheme: "grpc",
      fallback: false,
      connections: DEFAULT_POOL,
      clock: demo.#clock,
      connect,
    });
    demo.#target = client.addBackend({ addr: demo.#host }).value;
    return demo;
  }

  get #host(): string {
    return hostOf(this.#server!);
  }

  describe(style: Style): string {
    return [
      ...formatAddresses(
        { name: "gRPC balancer", addr: this.#host, preferred: PREFERRED },
        this.#addresses,
        style,
      ),
      "",
      ...this.#balancer.routes().map(({ rule }) => `${style.dim("route")}  ${rule}`),
    ].join("\n");
  }

  async run(): Promise<Result[]> {
    const results: Result[] = [];
    for (const trial of TRIALS) results.push(await this.#try(trial));
    return results;
  }

  async #try({ route, method, type, request, count, expected }: Trial): Promise<Result> {
    const message = encodeRequest(type, request);
    const before = this.#counted();
    const statuses = new Map<string, number>();
    const times: number[] = [];
    for (let i = 0; i < count; i++) {
      const started = performance.now();
      countUp(statuses, STATUS_LABELS[await this.#call(`/${method}`, message)]!);
      times.push(performance.now() - started);
    }
    const answers = this.#counted();
    for (const [what, count] of before) countUp(answers, what, -count);
    for (const [what, count] of answers) if (count === 0) answers.delete(what);
    const text = JSON.stringify(request);
    return {
      route,
      request: `${method} ${text}`,
      answers: formatCounts(answers),
      times,
      // The client has seen the same statuses as the balancer counted.
      right: isSame(answers, expected) &&
        [...statuses].every(([status, count]) => sumOf(answers, ` ${status}`) === count),
    };
  }

  /** The status of one call. */
  async #call(path: string, message: Uint8Array): Promise<number> {
    try {
      await callBackend(this.#target!, {
        path,
        messages: [message],
        timeout: TIMEOUT,
        clock: this.#clock,
      });
      return 0;
    } catch (error) {
      if (error instanceof GrpcCallError) return error.status;
      throw error;
    }
  }

  /** What the balancer's own counters say: calls by backend and status. */
  #counted(): Map<string, number> {
    const names = new Map(NAMES.map((name) => [`grpc://${this.#addresses[name]}`, name]));
    const nameOf = new Map(this.#balancer.backends().map(({ id, addr }) => [id, names.get(addr)]));
    const counts = new Map<string, number>();
    for (const stats of this.#balancer.metrics.listener(this.#balancer.name).grpc.series()) {
      for (const [backend, statuses] of stats.backends()) {
        for (const [i, count] of statuses.entries()) {
          const name = nameOf.get(backend) ?? "the balancer";
          if (count > 0) countUp(counts, `${name} ${STATUS_LABELS[i]}`, count);
        }
      }
    }
    return counts;
  }

  get suggestions(): DemoPart["suggestions"] {
    const host = this.#host;
    const item = `'{"item":"tea"}'`;
    const backend = `'{"addr":"${this.#addresses.canary}"}'`;
    return [
      ["the services of all backends and of the balancer", `grpcurl -plaintext ${host} list`],
      ["one of them", `grpcurl -plaintext ${host} describe ${SHOP}`],
      ["a call, of blue and green in turn", `grpcurl -plaintext -d ${item} ${host} ${SHOP}/Price`],
      ["whether it can be served", `grpcurl -plaintext ${host} grpc.health.v1.Health/Check`],
      [
        "canary joins in, now",
        `grpcurl -plaintext -d ${backend} ${host} lb.LoadBalancer/AddL4`,
      ],
    ];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#target?.closeIdle();
    await this.#balancer.close();
    await Promise.all(this.#backends.map((backend) => backend[Symbol.asyncDispose]()));
  }
}

function sumOf(counts: ReadonlyMap<string, number>, suffix: string): number {
  let sum = 0;
  for (const [what, count] of counts) if (what.endsWith(suffix)) sum += count;
  return sum;
}
