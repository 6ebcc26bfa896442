/**
 * `lb http-l7` with faults of its own, which no exchange catches: SIGUSR2 brings about a rejection that
 * nobody waits for and an error in a callback. Its arguments are those of {@linkcode serve}, as JSON.
 *
 * @module
 */
import { serve } from "../../lib/cli/serve.ts";
import { HttpL7 } from "../../mod.ts";

if (import.meta.main) {
  const onUsr2 = () => {
    void Promise.reject(new Error("nobody waits", { cause: new TypeError("the first cause") }));
    setTimeout(() => {
      throw new RangeError("nobody catches");
    }, 0);
  };
  Deno.addSignalListener("SIGUSR2", onUsr2);
  const code = await serve(JSON.parse(Deno.args[0]!), (options) => new HttpL7(options));
  Deno.removeSignalListener("SIGUSR2", onUsr2);
  Deno.exitCode = code;
}
