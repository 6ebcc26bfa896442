/**
 * The program: finds the command and runs it.
 *
 * @module
 */

import { describeError } from "../common/errors.ts";
import { type Command, CommandError, EXIT } from "./command.ts";
import { formatEntry } from "./help.ts";
import { asksForHelp, UsageError } from "./options.ts";
import { suggest } from "./suggest.ts";

interface Entry {
  readonly summary: string;
  /** Loaded when it is run, so that a small command does not wait for the balancers. */
  load(): Promise<{ readonly command: Command }>;
}

const COMMANDS: ReadonlyMap<string, Entry> = new Map<string, Entry>([
  ["http-l7", { summary: "balance HTTP per request", load: () => import("./http_l7.ts") }],
  ["http-l4", { summary: "balance HTTP per connection", load: () => import("./http_l4.ts") }],
  ["grpc-l7", { summary: "balance gRPC per call", load: () => import("./grpc_l7.ts") }],
  ["grpc-l4", { summary: "balance gRPC per connection", load: () => import("./grpc_l4.ts") }],
  ["mux", { summary: "balance HTTP and gRPC on one port", load: () => import("./mux.ts") }],
  ["tcp-l4", { summary: "balance TCP connections", load: () => import("./tcp_l4.ts") }],
  ["demo", { summary: "try it out: backends, routes, requests", load: () => import("./demo.ts") }],
  ["add", { summary: "add a backend to a running balancer", load: () => import("./add.ts") }],
  ["remove", { summary: "remove backends or routes", load: () => import("./remove.ts") }],
  ["drain", { summary: "send no more to backends", load: () => import("./drain.ts") }],
  ["list", { summary: "list backends and routes", load: () => import("./list.ts") }],
  ["version", { summary: "print versions", load: () => import("./version.ts") }],
]);

const USAGE = `Usage: lb COMMAND [options]

A load balancer for HTTP, gRPC and TCP.

Commands:
${[...COMMANDS].map(([name, { summary }]) => formatEntry(name, summary, 12)).join("\n")}

lb COMMAND --help tells what a command takes; lb demo shows what it is about.`;

/**
 * Runs the program.
 *
 * @param args The command line without the program's name.
 * @returns The exit code: 0 ok, 1 failure, 2 a command line that cannot be understood.
 */
export async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === "--version") return await main(["version", ...rest]);
  if (name === "help" && rest.length > 0) return await main([rest[0]!, "--help"]);
  const entry = name === undefined ? undefined : COMMANDS.get(name);
  if (entry === undefined) return withoutCommand(name);
  try {
    const { command } = await entry.load();
    return await command(rest);
  } catch (error) {
    if (error instanceof UsageError) {
      console.error(`lb ${name}: ${error.message}\nSee lb ${name} --help`);
      return EXIT.usage;
    }
    if (error instanceof CommandError) console.error(`lb ${name}: ${error.message}`);
    else console.error(`lb ${name}: ${describeError(error)}`);
    return EXIT.failure;
  }
}

function withoutCommand(name: string | undefined): number {
  if (name === undefined) {
    console.error(USAGE);
    return EXIT.usage;
  }
  if (name === "help" || asksForHelp([name])) {
    console.log(USAGE);
    return EXIT.ok;
  }
  const known = [...COMMANDS.keys()];
  const nearest = suggest(name, known);
  console.error(
    `lb: there is no command ${JSON.stringify(name)}; ` +
      (nearest === undefined ? `accepted are ${known.join(", ")}` : `did you mean ${nearest}?`) +
      "\nSee lb --help",
  );
  return EXIT.usage;
}
