/**
 * `lb version`
 *
 * @module
 */

import { VERSION } from "../common/version.ts";
import { EXIT, makeCommand } from "./command.ts";
import { flag } from "./options.ts";

/** Prints versions. */
export const command = makeCommand({
  usage: "lb version [options]",
  description: "Prints the versions of lb and of what it runs on.",
  examples: [["lb version --json", "for programs"]],
  options: { json: flag("print JSON") },
  run: ({ json }) => {
    const { deno, v8 } = Deno.version;
    console.log(
      json ? JSON.stringify({ lb: VERSION, deno, v8 }) : `lb ${VERSION} (deno ${deno}, v8 ${v8})`,
    );
    return EXIT.ok;
  },
});
