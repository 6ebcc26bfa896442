/**
 * Balancers as a process of their own, whose descriptors and memory are nobody else's: see
 * `balancer_process.ts`. The only argument is a {@linkcode BalancerProgram} as JSON; the addresses are
 * printed as one line of JSON. SIGTERM ends it.
 *
 * @module
 */
import { configureLogging, flushLogging } from "../../lib/observe/logger.ts";
import { HttpL4, HttpL7, type HttpL7Options, type LoadBalancerOptions } from "../../mod.ts";

/** What is started. */
export interface BalancerProgram {
  /** A balancer at layer 7. */
  readonly l7?: HttpL7Options;
  /** A balancer at layer 4. */
  readonly l4?: LoadBalancerOptions;
}

if (import.meta.main) {
  const { l7, l4 }: BalancerProgram = JSON.parse(Deno.args[0]!);
  configureLogging({ level: "warning", format: "text" });
  // First of all: with its first listener the runtime opens what signals need, and dies when it cannot.
  const stop = new AbortController();
  const onTerm = () => stop.abort();
  Deno.addSignalListener("SIGTERM", onTerm);
  const options = { signal: stop.signal };
  const servers = await Promise.all([
    l7 && new HttpL7(l7).start("127.0.0.1:0", options),
    l4 && new HttpL4(l4).start("127.0.0.1:0", options),
  ]);
  console.log(JSON.stringify(servers.map((server) => server?.addr ?? null)));
  await Promise.all(servers.map((server) => server?.finished));
  Deno.removeSignalListener("SIGTERM", onTerm);
  await flushLogging();
}
