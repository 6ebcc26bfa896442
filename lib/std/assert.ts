/** `@std/assert`. Where JSR is reachable, point `@std/assert` in `deno.json` at `jsr:@std/assert@1` instead. */
// @ts-types="./assert.d.ts"
export * from "deno-std/assert/mod.js";
