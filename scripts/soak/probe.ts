/**
 * Loaded into a balancer before the program itself, so that its heap can be looked at from outside: whoever connects to
 * the socket that `LB_SOAK_PROBE` names is told the memory in use behind a full collection, as one line of JSON.
 *
 * @module
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** The variable that names the socket. */
export const PROBE_VARIABLE = "LB_SOAK_PROBE";

/** What a balancer says of its memory, in bytes. */
export interface HeapReport {
  /** V8's heap, behind a full collection. */
  readonly heapUsed: number;
  /** Buffers outside of it. */
  readonly external: number;
}

async function answer(listener: Deno.UnixListener, collect: () => void): Promise<void> {
  for (;;) {
    const conn = await listener.accept();
    collect();
    const { heapUsed, external } = Deno.memoryUsage();
    const report: HeapReport = { heapUsed, external };
    await conn.write(new TextEncoder().encode(`${JSON.stringify(report)}\n`));
    conn.close();
  }
}

const path = Deno.env.get(PROBE_VARIABLE);
if (path !== undefined) {
  setFlagsFromString("--expose-gc");
  const listener = Deno.listen({ transport: "unix", path });
  // The program ends when it has ended, not when nobody looks at it any more.
  listener.unref();
  void answer(listener, runInNewContext("gc"));
}

/** Asks a balancer. */
export async function readHeap(path: string): Promise<HeapReport> {
  const conn = await Deno.connect({ transport: "unix", path });
  const text = await new Response(conn.readable).text();
  return JSON.parse(text);
}
