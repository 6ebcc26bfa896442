/**
 * `lb demo`: what lb is about, in ten seconds. It uses nothing but what the library offers to everybody.
 *
 * @module
 */

import { HttpL7, type Route, RouteBuilder, type Server } from "../../mod.ts";
import { EXIT, makeCommand } from "./command.ts";
import { flag } from "./options.ts";
import { EndSignals } from "./signals.ts";
import { stdoutStyle, type Style } from "./style.ts";
import { formatTable } from "./table.ts";

const PREFERRED = "127.0.0.1:8080";
const NAMES = ["blue", "green", "canary"] as const;

type Name = typeof NAMES[number];
type Addresses = Readonly<Record<Name, string>>;

/** Requests of one kind, and how often each backend must answer them. */
interface Trial {
  /** What the route is about. */
  readonly route: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly expected: Readonly<Partial<Record<Name, number>>>;
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

/** Shows what lb does. */
export const command = makeCommand({
  usage: "lb demo [options]",
  description: "Starts three small backends and a balancer with routes in front of them, sends " +
    "requests through it and prints which backend answered what and how fast. Then it stays up.",
  examples: [["lb demo --once", "end after the table; the exit code says whether all was right"]],
  options: { once: flag("end after the table") },
  run: async ({ once }) => {
    using signals = new EndSignals();
    await using demo = await Demo.start();
    const style = stdoutStyle();
    console.log(demo.describe(style));
    const results = await demo.run();
    console.log(`\n${formatResults(results, style)}`);
    if (once) return results.every(({ right }) => right) ? EXIT.ok : EXIT.failure;
    console.log(`\n${demo.suggest(style)}`);
    await signals.asked;
    return EXIT.ok;
  },
});

interface Result {
  readonly trial: Trial;
  readonly answers: ReadonlyMap<string, number>;
  /** Milliseconds of each request, sorted. */
  readonly times: readonly number[];
  readonly right: boolean;
}

/** The backends and the balancer. */
class Demo implements AsyncDisposable {
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

  static async start(): Promise<Demo> {
    const demo = new Demo();
    try {
      demo.#server = await demo.#listen();
    } catch (error) {
      await demo[Symbol.asyncDispose]();
      throw error;
    }
    return demo;
  }

  async #listen(): Promise<Server> {
    try {
      return await this.#balancer.start(PREFERRED);
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
      return await this.#balancer.start("127.0.0.1:0");
    }
  }

  get #host(): string {
    const { hostname, port } = this.#server!.addr as Deno.NetAddr;
    return `${hostname}:${port}`;
  }

  get #url(): string {
    return `http://${this.#host}`;
  }

  describe(style: Style): string {
    const taken = this.#host === PREFERRED ? "" : style.dim(`  (${PREFERRED} is taken)`);
    const lines = [`${style.bold("balancer")}  ${this.#url}${taken}`];
    for (const name of NAMES) lines.push(`${name.padEnd(8)}  ${this.#addresses[name]}`);
    lines.push("");
    for (const { rule } of this.#balancer.routes()) lines.push(`${style.dim("route")}     ${rule}`);
    return lines.join("\n");
  }

  async run(): Promise<Result[]> {
    using client = Deno.createHttpClient({});
    const results: Result[] = [];
    for (const trial of TRIALS) results.push(await this.#try(trial, client));
    return results;
  }

  async #try(trial: Trial, client: Deno.HttpClient): Promise<Result> {
    const answers = new Map<string, number>();
    const times: number[] = [];
    const count = Object.values(trial.expected).reduce((sum, times) => sum + times, 0);
    for (let i = 0; i < count; i++) {
      const started = performance.now();
      const response = await fetch(this.#url + trial.path, {
        client,
        headers: { ...trial.headers },
      });
      const text = (await response.text()).trim();
      times.push(performance.now() - started);
      const answer = response.ok ? text : `status ${response.status}`;
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
    }
    const right = NAMES.every((name) => (answers.get(name) ?? 0) === (trial.expected[name] ?? 0));
    return { trial, answers, times: times.sort((a, b) => a - b), right };
  }

  suggest(style: Style): string {
    const url = this.#url;
    const body = `{"backend_addr":"${this.#addresses.canary}","paths":["/new"]}`;
    const lines: [meaning: string, line: string][] = [
      ["blue and green in turn", `curl ${url}/`],
      ["the route by header", `curl -H 'X-Version: v2' ${url}/api/users`],
      [
        "a new route, now",
        `curl -X POST ${url}/lb/add -H 'Content-Type: application/json' \\\n  -d '${body}'`,
      ],
      ["and a request for it", `curl ${url}/new`],
      ["what there is", `curl ${url}/lb/backends ${url}/lb/routes`],
    ];
    return [
      `${style.bold("Try it")}, and end it with Ctrl+C:`,
      ...lines.map(([meaning, line]) => `\n${style.dim(`# ${meaning}`)}\n${line}`),
    ].join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#balancer.close();
    await Promise.all(this.#backends.map((backend) => backend.shutdown()));
  }
}

function formatResults(results: readonly Result[], style: Style): string {
  const rows = results.map(({ trial, answers, times, right }) => [
    trial.route,
    `GET ${trial.path}${formatHeaders(trial.headers)}`,
    Array.from(answers, ([answer, count]) => `${answer} ${count}`).join(", ") +
    (right ? "" : "  WRONG"),
    percentile(times, 0.5).toFixed(2),
    percentile(times, 0.99).toFixed(2),
  ]);
  const [head = "", ...lines] = formatTable([
    { title: "ROUTE" },
    { title: "REQUEST" },
    { title: "ANSWERED BY" },
    { title: "P50 MS", align: "right" },
    { title: "P99 MS", align: "right" },
  ], rows).split("\n");
  const marked = lines.map((line, i) => results[i]!.right ? line : style.red(line));
  return [style.bold(head), ...marked].join("\n");
}

function formatHeaders(headers: Trial["headers"] = {}): string {
  return Object.entries(headers).map(([name, value]) => ` ${name}: ${value}`).join("");
}

/** The smallest value that so large a share of all is not above (the nearest rank). */
function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? NaN;
}
