/**
 * `lb demo`: what lb is about, in ten seconds.
 *
 * @module
 */

import { EXIT, makeCommand } from "./command.ts";
import { GrpcDemo } from "./demo/grpc.ts";
import { HttpDemo } from "./demo/http.ts";
import { type DemoPart, formatResults } from "./demo/part.ts";
import { flag } from "./options.ts";
import { EndSignals } from "./signals.ts";
import { stdoutStyle, type Style } from "./style.ts";

/** Shows what lb does. */
export const command = makeCommand({
  usage: "lb demo [options]",
  description:
    "Starts small backends and balancers with routes in front of them, for HTTP and for " +
    "gRPC, sends requests and calls through them and prints which backend answered what and how " +
    "fast. Then it stays up.",
  examples: [["lb demo --once", "end after the tables; the exit code says whether all was right"]],
  options: { once: flag("end after the tables") },
  run: async ({ once }) => {
    using signals = new EndSignals();
    await using http = await HttpDemo.start();
    await using grpc = await GrpcDemo.start();
    const style = stdoutStyle();
    let right = true;
    for (const part of [http, grpc]) {
      console.log(part.describe(style));
      const results = await part.run();
      right &&= results.every((result) => result.right);
      console.log(`\n${formatResults(results, style)}\n`);
    }
    if (once) return right ? EXIT.ok : EXIT.failure;
    console.log(suggest([http, grpc], style));
    await signals.asked;
    return EXIT.ok;
  },
});

function suggest(parts: readonly DemoPart[], style: Style): string {
  return [
    `${style.bold("Try it")}, and end it with Ctrl+C:`,
    ...parts.flatMap(({ suggestions }) => suggestions)
      .map(([meaning, line]) => `\n${style.dim(`# ${meaning}`)}\n${line}`),
  ].join("\n");
}
