/**
 * What the HTTP/2 engine costs on both sides of a connection, without sockets: 64 unary calls at once, and
 * 4 MiB in one stream.
 */
import { Clock } from "../../lib/common/clock.ts";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";
import { type Call, H2Backend, H2Client } from "../support/h2_peer.ts";

const CALLS = 64;
const LARGE = new Uint8Array(4 * 1024 * 1024);

function answer(call: Call): void {
  call.head();
  call.send(call.path === "/large" ? LARGE : "hello");
  call.end();
}

async function open(): Promise<H2Client> {
  const clock = new Clock();
  const [ours, theirs] = makeMemoryPair();
  const backend = new H2Backend({ clock });
  backend.onCall = (call) => {
    // It keeps its calls for tests, which would measure the collector.
    backend.calls.length = 0;
    answer(call);
  };
  backend.serve(theirs);
  const client = new H2Client(ours, { clock });
  await client.ready;
  return client;
}

const client = await open();

Deno.bench(`${CALLS} unary calls at once`, { group: "h2" }, async () => {
  await Promise.all(Array.from({ length: CALLS }, () => client.call("/unary").done));
});

Deno.bench("an answer of 4 MiB", { group: "h2" }, async () => {
  const call = client.call("/large");
  call.keeps = false;
  await call.done;
});
