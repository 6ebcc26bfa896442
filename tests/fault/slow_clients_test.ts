import { assert, assertEquals, assertLess } from "@std/assert";
import { GrpcL4, GrpcL7, type LoadBalancer } from "../../mod.ts";
import { CLIENT_PREFACE } from "../../lib/http/h2/preface.ts";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { Setting } from "../../lib/http/h2/settings.ts";
import { besideCleanTraffic } from "../support/clean_traffic.ts";
import { H2Backend } from "../support/h2_peer.ts";
import { headers, windowUpdate } from "../support/h2_raw.ts";
import { callFields, Wire } from "../support/h2_wire.ts";
import {
  delay,
  Peer,
  run,
  runL4,
  runL7,
  runMux,
  type Running,
  serveHttp,
  serveName,
  settled,
  until,
  within,
} from "../support/net.ts";

/**
 * Times that tests can wait for; all others are so long that they play no part. Who is served beside has the same time for
 * a head, and the machine may stop everybody for a while.
 */
const HEAD_MS = 3000;
const STALL_MS = 600;
const LONG_MS = 60_000;
const timeouts = { requestHead: HEAD_MS, idle: LONG_MS, bodyStall: LONG_MS, response: LONG_MS };
/** The clock may be late by a tick, and the machine by far more. */
const LATE_MS = 20_000;

/** Sends a byte at a time, `pause` milliseconds apart, until `done` resolves; how long that took, in milliseconds. */
async function drip(
  send: (byte: Uint8Array) => Promise<unknown>,
  bytes: Uint8Array,
  done: Promise<unknown>,
  pause = 40,
): Promise<number> {
  const begun = performance.now();
  let over = false;
  void done.then(() => over = true);
  for (let i = 0; i < bytes.length && !over; i++) {
    await send(bytes.subarray(i, i + 1));
    await delay(pause);
  }
  await within(LATE_MS, "the end", done);
  return performance.now() - begun;
}

function assertTook(time: number, limit: number): void {
  assert(time >= limit * 0.9, `it took ${time} ms of ${limit}`);
  assertLess(time, limit + LATE_MS);
}

function refused({ lb }: Running<LoadBalancer>, reason: string): number {
  return lb.metrics.listener(lb.name).refusals.get(reason) ?? 0;
}

const ascii = new TextEncoder();
const HEAD = ascii.encode(`GET / HTTP/1.1\r\nHost: a\r\n${"X-Slow: 1\r\n".repeat(20)}\r\n`);

Deno.test("a head that is drawn out gets 408 at its limit, and nobody beside it notices", async () => {
  await using backend = serveName("a");
  await using lb = await runL7({ backends: [backend.addr], timeouts });
  await besideCleanTraffic(lb.addr, "/", "a", async () => {
    await using peer = await Peer.connect(lb.addr);
    const answer = peer.answer();
    assertTook(await drip((byte) => peer.write(byte), HEAD, answer), HEAD_MS);
    assertEquals((await answer).status, 408);
  });
  assertEquals(refused(lb, "request_timeout"), 1);
});

for (const [name, open] of [["http-l4", runL4], ["mux", runMux]] as const) {
  Deno.test(`${name}: first bytes that do not say what they are cost a connection no longer`, async () => {
    await using backend = serveName("a");
    await using lb = await open({
      backends: [name === "mux" ? `http://${backend.addr}` : backend.addr],
      timeouts,
    });
    await besideCleanTraffic(lb.addr, "/", "a", async () => {
      await using silent = await Peer.connect(lb.addr);
      const begun = performance.now();
      await within(HEAD_MS + LATE_MS, "the end", silent.rest());
      assertTook(performance.now() - begun, HEAD_MS);
    });
  });
}

Deno.test("a body that is drawn out gets 408 when it is below the least rate", async () => {
  await using backend = serveHttp(async (request) =>
    new Response(await request.text().catch(() => ""))
  );
  await using lb = await runL7({
    backends: [backend.addr],
    timeouts,
    limits: { minBodyRate: 1000, bodyGrace: HEAD_MS },
  });
  await besideCleanTraffic(lb.addr, "/", "", async () => {
    await using peer = await Peer.connect(lb.addr);
    await peer.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    const answer = peer.answer();
    assertTook(await drip((byte) => peer.write(byte), new Uint8Array(1000), answer), HEAD_MS);
    assertEquals((await answer).status, 408);
    await using quick = await Peer.connect(lb.addr);
    const body = "x".repeat(2000);
    await quick.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n");
    // 10 KB a second, for longer than the grace alone.
    for (let i = 0; i < 5; i++) {
      await quick.write(body);
      await delay(200);
    }
    assertEquals((await quick.answer()).text.length, 10_000);
  });
  assertEquals(refused(lb, "body_timeout"), 1);
  await settled(lb.lb);
});

Deno.test("a body that stops gets 408 at the limit for that", async () => {
  await using backend = serveHttp(async (request) =>
    new Response(await request.text().catch(() => ""))
  );
  await using lb = await runL7({
    backends: [backend.addr],
    timeouts: { ...timeouts, bodyStall: STALL_MS },
  });
  await besideCleanTraffic(lb.addr, "/", "", async () => {
    await using peer = await Peer.connect(lb.addr);
    await peer.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
    const begun = performance.now();
    assertEquals((await peer.answer()).status, 408);
    assertTook(performance.now() - begun, STALL_MS);
  });
  await settled(lb.lb);
});

Deno.test("an answer that is not read ends at the limit for that, and its backend is free", async () => {
  const large = new Uint8Array(64 * 1024 * 1024);
  await using backend = serveHttp((request) =>
    new Response(new URL(request.url).pathname === "/large" ? large : "a")
  );
  await using lb = await runL7({
    backends: [backend.addr],
    timeouts: { ...timeouts, bodyStall: STALL_MS },
  });
  await besideCleanTraffic(lb.addr, "/", "a", async () => {
    await using peer = await Peer.connect(lb.addr);
    await peer.write("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    await peer.head();
    await until(
      () => lb.lb.backends()[0]!.connections.active <= 1,
      "the backend is free",
      STALL_MS + 10_000,
    );
    await until(() => refused(lb, "client_stalled") === 1, "it is counted", STALL_MS + 10_000);
  });
  await settled(lb.lb);
});

for (const name of ["grpc-l7", "grpc-l4", "mux"] as const) {
  Deno.test(`${name}: a preface, and a frame, that are drawn out end their connection at the limit`, async () => {
    await using backend = H2Backend.listen({ onCall: (call) => call.answer() });
    const options = { backends: [`grpc://${backend.addr}`], timeouts };
    await using lb = name === "mux"
      ? await runMux(options)
      : await run(name === "grpc-l4" ? new GrpcL4(options) : new GrpcL7(options));
    await using clean = await Wire.open(lb.addr);
    let calls = 0;
    const ask = async () => {
      const id = 2 * calls++ + 1;
      await clean.send(headers(id, 0x5, callFields()));
      await clean.until(() => clean.stream(id).ended, "a clean call");
    };

    const opening = await Wire.connect(lb.addr);
    const opened = opening.until(() => opening.ended, "the end");
    // Not all of it is sent when its time is over.
    const pause = 2 * HEAD_MS / CLIENT_PREFACE.length;
    assertTook(await drip((byte) => opening.send(byte), CLIENT_PREFACE, opened, pause), HEAD_MS);
    await opening[Symbol.asyncDispose]();
    await ask();

    await using slow = await Wire.open(lb.addr);
    const refusal = slow.until(() => slow.farewell !== undefined, "GOAWAY");
    const block = headers(1, 0x5, callFields("/s.S/M", ["x-slow", "1".repeat(100)]));
    assertTook(await drip((byte) => slow.send(byte), block, refusal), HEAD_MS);
    assertEquals(slow.farewell?.debug, "frame_timeout");
    assertEquals(refused(lb as Running<LoadBalancer>, "frame_timeout"), 1);
    await ask();
    assertEquals(clean.ended, false);
  });
}

Deno.test("an HTTP answer whose window is never opened ends at the limit, and its backend is free", async () => {
  const large = new Uint8Array(4 * 1024 * 1024);
  await using backend = serveHttp(() => new Response(large));
  await using lb = await runMux({
    http: { backends: [backend.addr] },
    timeouts: { ...timeouts, bodyStall: STALL_MS },
  });
  // It has got nothing that it could be reading.
  const settings = [[Setting.InitialWindowSize, 0]] as const;
  await using wire = await Wire.open(lb.addr, { grants: false, settings });
  const get = [
    [":method", "GET"],
    [":scheme", "http"],
    [":path", "/"],
    [":authority", "a"],
  ] as const;
  const begun = performance.now();
  await wire.send(headers(1, 0x5, get));
  await wire.until(() => wire.stream(1).reset !== undefined, "the reset");
  assertTook(performance.now() - begun, STALL_MS);
  assertEquals(wire.stream(1).reset, H2Code.EnhanceYourCalm);
  assertEquals(refused(lb as Running<LoadBalancer>, "client_stalled"), 1);
  await settled(lb.lb);
  // The connection is as good as before for answers that are read.
  await wire.send(windowUpdate(0, 5 * 1024 * 1024));
  await wire.send(headers(3, 0x5, get), windowUpdate(3, 5 * 1024 * 1024));
  await wire.until(() => wire.stream(3).ended, "the next answer");
  assertEquals(wire.stream(3).reset, undefined);
});
