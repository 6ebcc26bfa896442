/**
 * Peers that do not take what is held for them, and such that take it slowly, on real sockets.
 */
import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { Setting } from "../../lib/http/h2/settings.ts";
import type { LoadBalancer } from "../../mod.ts";
import { besideCleanTraffic } from "../support/clean_traffic.ts";
import { BAD, h2Fault } from "../support/grpc_fault.ts";
import { OK } from "../support/h2_peer.ts";
import { concat, data, headers, windowUpdate } from "../support/h2_raw.ts";
import { answer, callFields } from "../support/h2_wire.ts";
import { delay, runL7, serveHttp, settled, until, within } from "../support/net.ts";

const STALL_MS = 600;
/** The clock may be late by this, and the machine by more. */
const LATE_MS = 3_000;
const END_HEADERS = 0x4;
const options = { timeouts: { windowStall: STALL_MS } };
/** A window of nothing: all time beside the limit is for taking what has come. */
const SHUT = [[Setting.InitialWindowSize, 0]] as const;

function refused(lb: LoadBalancer, reason: string): number {
  return lb.metrics.listener(lb.name).refusals.get(reason) ?? 0;
}

const call = (id: number) => concat(headers(id, END_HEADERS, callFields(BAD)), data(id, 5, 1));

h2Fault(
  "a gRPC client whose window stays shut loses the call that has content for it, and no other",
  {
    onEnd: (request) => {
      const { wire, id } = request;
      // The first call has an answer, the second one only has a head.
      if (id === 1) void answer(request);
      else void wire.send(headers(id, END_HEADERS, OK));
    },
  },
  async ({ wire, faulty, lb }) => {
    const client = await wire({ grants: false, settings: SHUT });
    const begun = performance.now();
    await client.send(call(1), call(3));
    await client.until(() => client.stream(1).reset !== undefined, "the reset");
    const took = performance.now() - begun;
    assert(took >= STALL_MS && took < STALL_MS + LATE_MS, `it took ${took} ms`);
    assertEquals(client.stream(1).reset, H2Code.EnhanceYourCalm);
    assertEquals(refused(lb, "client_stalled"), 1);
    await until(() => faulty.requests.length === 2, "both calls");
    const [stalled, idle] = faulty.requests;
    // All of its answer had come from the backend, or it is told.
    await until(() => stalled!.stream.over, "the end at the backend");
    await delay(2 * STALL_MS);
    await client.settle();
    assertEquals([client.stream(3).over, idle!.stream.reset], [false, undefined]);
    // What it has to say later comes, when there is room for it.
    await client.send(windowUpdate(3, 100));
    await idle!.wire.send(data(idle!.id, 100, 1));
    await client.until(() => client.stream(3).ended, "the other answer");
    assertEquals(client.stream(3).received, 100);
  },
  { options },
);

h2Fault("a gRPC client that opens its window by a byte at a time gets all of its answer", {
  onEnd: (request) => void answer(request, new Uint8Array(10)),
}, async ({ wire, lb }) => {
  const client = await wire({ grants: false, settings: SHUT });
  const begun = performance.now();
  await client.send(call(1));
  for (let i = 0; i < 10; i++) {
    await delay(STALL_MS / 3);
    await client.send(windowUpdate(1, 1));
  }
  await client.over(1);
  assertGreater(performance.now() - begun, 3 * STALL_MS);
  assertEquals([client.stream(1).received, client.stream(1).value("grpc-status")], [10, "0"]);
  assertEquals(refused(lb, "client_stalled"), 0);
}, { options: { timeouts: { windowStall: 3 * STALL_MS } } });

h2Fault("a backend whose window stays shut is given up with UNAVAILABLE", {}, async (scene) => {
  const begun = performance.now();
  const { status, reset } = await scene.call();
  const took = performance.now() - begun;
  assert(took >= STALL_MS && took < STALL_MS + LATE_MS, `it took ${took} ms`);
  assertEquals([status, reset], ["14", undefined]);
  const [request] = scene.faulty.requests;
  await until(() => request!.stream.reset === H2Code.Cancel, "the reset at the backend");
  assertEquals(refused(scene.lb, "upstream_stalled"), 1);
}, { options, wire: { grants: false, settings: SHUT } });

h2Fault("calls to that backend that have no content are not in its way", {
  onHead: ({ wire, id }) => void wire.send(headers(id, END_HEADERS, OK)),
}, async ({ begin, faulty }) => {
  const stuck = begin();
  const idle = begin({ content: "", open: true });
  await stuck.done;
  assertEquals(stuck.value("grpc-status"), "14");
  await delay(STALL_MS);
  assertEquals(idle.ended, false);
  const request = faulty.requests.find(({ stream }) => stream.reset === undefined);
  await request!.wire.send(headers(request!.id, 0x5, [["grpc-status", "0"]]));
  await idle.done;
  assertEquals(idle.value("grpc-status"), "0");
}, { options, wire: { grants: false, settings: SHUT } });

Deno.test({
  name: "a slow reader over HTTP/1.1 is not cut while its system takes what ours has",
  // Elsewhere nobody can tell.
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const size = 16 * 1024 * 1024;
    const bodyStall = 1_500;
    const large = new Uint8Array(size);
    await using backend = serveHttp((request) =>
      new Response(new URL(request.url).pathname === "/large" ? large : "a")
    );
    await using balancer = await runL7({ backends: [backend.addr], timeouts: { bodyStall } });
    await besideCleanTraffic(balancer.addr, "/", "a", async () => {
      const { hostname, port } = balancer.addr as Deno.NetAddr;
      using conn = await Deno.connect({ hostname, port });
      await conn.write(new TextEncoder().encode("GET /large HTTP/1.1\r\nHost: a\r\n\r\n"));
      // At this rate a third of the send buffer, which wakes the writer, is free after several times the limit.
      const piece = new Uint8Array(30 * 1024);
      const begun = performance.now();
      let read = 0;
      while (performance.now() - begun < 4 * bodyStall) {
        read += (await conn.read(piece))!;
        await delay(100);
      }
      assertLess(read, size / 4);
      const rest = new Uint8Array(64 * 1024);
      await within(
        10_000,
        "the rest",
        (async () => {
          while (read < size) {
            const count = await conn.read(rest);
            assert(count !== null, `cut off behind ${read} bytes`);
            read += count;
          }
        })(),
      );
    });
    assertEquals(refused(balancer.lb, "client_stalled"), 0);
    await settled(balancer.lb);
  },
});
