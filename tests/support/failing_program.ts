/**
 * `lb http-l7` with faults of its own, which no exchange catches: SIGWINCH brings about a rejection that
 * nobody waits for and an error in a callback. Its arguments are those of {@linkcode serve}, as JSON.
 *
 * @module
 */
import { serve } from "../../lib/cli/serve.ts";
import { HttpL7 } from "../../mod.ts";

if (import.meta.main) {
  const onWinch = () => {
    void Promise.reject(new Error("nobody waits", { cause: new TypeError("the first cause") }));
    setTimeout(() => {
      throw new RangeError("nobody catches");
    }, 0);
  };
  Deno.addSignalListener("SIGWINCH", onWinch);
  const code = await serve(JSON.parse(Deno.args[0]!), (options) => new HttpL7(options));
  Deno.removeSignalListener("SIGWINCH", onWinch);
  Deno.exitCode = code;
}
