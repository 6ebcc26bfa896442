/**
 * Balancers as a process of their own, whose descriptors and memory are nobody else's: see
 * `balancer_process.ts`. The only argument is a {@linkcode BalancerProgram} as JSON; where they listen is
 * printed as one line of JSON, {@linkcode BalancerAddresses}. SIGTERM ends it.
 *
 * @module
 */
import { configureLogging, flushLogging } from "../../lib/observe/logger.ts";
import {
  AdminServer,
  GrpcL4,
  GrpcL7,
  HttpL4,
  HttpL7,
  type HttpL7Options,
  type LoadBalancerOptions,
  Metrics,
  parseListenAddress,
} from "../../mod.ts";

/** What is started. */
export interface BalancerProgram {
  /** A balancer at layer 7. */
  readonly l7?: HttpL7Options;
  /** A balancer at layer 4. */
  readonly l4?: LoadBalancerOptions;
  /** A gRPC balancer at layer 7. */
  readonly grpcL7?: HttpL7Options;
  /** A gRPC balancer at layer 4. */
  readonly grpcL4?: LoadBalancerOptions;
}

/** Where they listen, if they do. */
export interface BalancerAddresses {
  /** The balancer at layer 7. */
  readonly l7: Deno.Addr;
  /** The balancer at layer 4. */
  readonly l4: Deno.Addr;
  /** The gRPC balancer at layer 7. */
  readonly grpcL7: Deno.Addr;
  /** The gRPC balancer at layer 4. */
  readonly grpcL4: Deno.Addr;
  /** Metrics of all of them. */
  readonly admin: Deno.Addr;
}

if (import.meta.main) {
  const program: BalancerProgram = JSON.parse(Deno.args[0]!);
  configureLogging({ level: "warning", format: "text" });
  // First of all: with its first listener the runtime opens what signals need, and dies when it cannot.
  const stop = new AbortController();
  const onTerm = () => stop.abort();
  Deno.addSignalListener("SIGTERM", onTerm);
  const metrics = new Metrics();
  const { l7, l4, grpcL7, grpcL4 } = program;
  const balancers = {
    l7: l7 && new HttpL7({ metrics, ...l7 }),
    l4: l4 && new HttpL4({ metrics, ...l4 }),
    grpcL7: grpcL7 && new GrpcL7({ metrics, ...grpcL7 }),
    grpcL4: grpcL4 && new GrpcL4({ metrics, ...grpcL4 }),
  };
  const started = await Promise.all(
    Object.entries(balancers).map(async ([name, balancer]) =>
      [name, await balancer?.start("127.0.0.1:0", { signal: stop.signal })] as const
    ),
  );
  const subject = Object.values(balancers).find((balancer) => balancer !== undefined)!;
  const admin = new AdminServer(subject, { address: parseListenAddress("127.0.0.1:0") });
  const addresses = started.map(([name, server]) => [name, server?.addr ?? null] as const);
  console.log(JSON.stringify({ ...Object.fromEntries(addresses), admin: admin.addr }));
  await Promise.all(started.map(([, server]) => server?.finished));
  await admin.shutdown();
  Deno.removeSignalListener("SIGTERM", onTerm);
  await flushLogging();
}
