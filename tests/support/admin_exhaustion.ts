/**
 * Runs a process out of descriptors and asks its admin listener afterwards. Started by a test with a low
 * limit of descriptors.
 *
 * @module
 */
import { parseListenAddress } from "../../lib/common/address.ts";
import { AdminServer } from "../../lib/control/admin.ts";
import { HttpL7 } from "../../lib/load_balancer.ts";

const lb = new HttpL7();
const admin = new AdminServer(lb, { address: parseListenAddress("127.0.0.1:0") });
const { port } = admin.addr as Deno.NetAddr;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

// The runtime needs descriptors of its own for signals, and panics when it first wants them and there are none: it
// wants them soon after the start, and with the first listener, which the command line has from the start.
const ignore = () => {};
Deno.addSignalListener("SIGHUP", ignore);
await pause(500);
const conns: Deno.Conn[] = [];
try {
  for (;;) conns.push(await Deno.connect({ hostname: "127.0.0.1", port }));
} catch {
  // The limit is reached, which is what this is about.
}
// Time for the listener to meet the limit too.
await pause(300);
for (const conn of conns) conn.close();

for (let tries = 0; tries < 50; tries++) {
  await pause(100);
  try {
    const response = await fetch(`http://127.0.0.1:${port}/healthz`);
    await response.text();
    console.log(`${response.status} after exhaustion`);
    break;
  } catch {
    // Not yet.
  }
}
await admin.shutdown();
await lb.close();
Deno.removeSignalListener("SIGHUP", ignore);
