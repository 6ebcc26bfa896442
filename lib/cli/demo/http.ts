/**
 * The HTTP part of the demo.
 *
 * @module
 */
import { HttpL7, type Route, RouteBuilder, type Server } from "../../../mod.ts";
import type { Style } from "../style.ts";
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

const PREFERRED = "127.0.0.1:8080";
const NAMES = ["blue", "green", "canary"] as const;

type Name = typeof NAMES[number];
type Addresses = Readonly<Record<Name, string>>;

/** Requests of one kind, and how often each backend must answer them. */
interface Trial {
  readonly route: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly expected: Readonly<Record<string, number>>;
}

const TRIALS: readonly Trial[] = [
  { route: "no route: all in turn", path: "/", expected: { blue: 10, green: 10 } },
  { route: "by path", path: "/api/users", expected: { green: 10 } },
  {
    route: "by path and header",
    path: "/api/users",
    headers: { "X-Version": "v2" },
    expected: { canary: 10 },
  },
  { route: "by weight, 9 to 1", path: "/shop", expected: { blue: 18, canary: 2 } },
];

function makeRoutes({ blue, green, canary }: Addresses): Route[] {
  return [
    new RouteBuilder().path("/api").target(green).build(),
    new RouteBuilder().path("/api").header("X-Version", "v2").target(canary).build(),
    new RouteBuilder().path("/shop").target(blue, { weight: 9 }).target(canary).build(),
  ];
}

/** Three HTTP backends and a balancer. */
export class HttpDemo implements DemoPart {
  readonly #backends: readonly Deno.HttpServer<Deno.NetAddr>[];
  readonly #addresses: Addresses;
  readonly #balancer: HttpL7;
  #server: Server | undefined;

  private constructor() {
    this.#backends = NAMES.map((name) =>
      Deno.serve(
        { hostname: "127.0.0.1", port: 0, onListen() {} },
        () => new Response(`${name}\n`),
      )
    );
    const [blue, green, canary] = this.#backends.map(({ addr }) => `http://127.0.0.1:${addr.port}`);
    this.#addresses = { blue: blue!, green: green!, canary: canary! };
    this.#balancer = new HttpL7({
      backends: [blue!, green!],
      routes: makeRoutes(this.#addresses),
      fallback: true,
    });
  }

  /** Starts them. */
  static async start(): Promise<HttpDemo> {
    const demo = new HttpDemo();
    try {
      demo.#server = await startPreferably(demo.#balancer, PREFERRED);
    } catch (error) {
      await demo[Symbol.asyncDispose]();
      throw error;
    }
    return demo;
  }

  get #url(): string {
    return `http://${hostOf(this.#server!)}`;
  }

  describe(style: Style): string {
    return [
      ...formatAddresses(
        { name: "HTTP balancer", addr: this.#url, preferred: PREFERRED },
        this.#addresses,
        style,
      ),
      "",
      ...this.#balancer.routes().map(({ rule }) => `${style.dim("route")}  ${rule}`),
    ].join("\n");
  }

  async run(): Promise<Result[]> {
    using client = Deno.createHttpClient({});
    const results: Result[] = [];
    for (const trial of TRIALS) results.push(await this.#try(trial, client));
    return results;
  }

  async #try(trial: Trial, client: Deno.HttpClient): Promise<Result> {
    const { route, path, headers = {}, expected } = trial;
    const answers = new Map<string, number>();
    const times: number[] = [];
    const count = Object.values(expected).reduce((sum, times) => sum + times, 0);
    for (let i = 0; i < count; i++) {
      const started = performance.now();
      const response = await fetch(this.#url + path, { client, headers });
      const text = (await response.text()).trim();
      times.push(performance.now() - started);
      countUp(answers, response.ok ? text : `status ${response.status}`);
    }
    const fields = Object.entries(headers).map(([name, value]) => ` ${name}: ${value}`).join("");
    return {
      route,
      request: `GET ${path}${fields}`,
      answers: formatCounts(answers),
      times,
      right: isSame(answers, expected),
    };
  }

  get suggestions(): DemoPart["suggestions"] {
    const url = this.#url;
    const body = `{"backend_addr":"${this.#addresses.canary}","paths":["/new"]}`;
    return [
      ["blue and green in turn", `curl ${url}/`],
      ["the route by header", `curl -H 'X-Version: v2' ${url}/api/users`],
      [
        "a new route, now",
        `curl -X POST ${url}/lb/add -H 'Content-Type: application/json' \\\n  -d '${body}'`,
      ],
      ["and a request for it", `curl ${url}/new`],
      ["what there is", `curl ${url}/lb/backends ${url}/lb/routes`],
    ];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#balancer.close();
    await Promise.all(this.#backends.map((backend) => backend.shutdown()));
  }
}
