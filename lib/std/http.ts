/** `@std/http`. Where JSR is reachable, point `@std/http` in `deno.json` at `jsr:@std/http@1` instead. */
// @ts-types="./http.d.ts"
export * from "deno-std/http/status.js";
