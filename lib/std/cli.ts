/** `@std/cli`. Where JSR is reachable, point `@std/cli` in `deno.json` at `jsr:@std/cli@1` instead. */
// @ts-types="./cli.d.ts"
export * from "deno-std/cli/parse_args.js";
