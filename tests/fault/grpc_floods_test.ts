/**
 * Every known flood of HTTP/2, again and again, against gRPC balancers in a process of their own: what they cost,
 * what they are counted as, and that nobody else notices.
 *
 * @module
 */
import { assert, assertEquals, assertLess, assertMatch } from "@std/assert";
import { ABUSE_CASES } from "../conformance/http2_cases.ts";
import { BalancerProcess } from "../support/balancer_process.ts";
import { SteadyCaller } from "../support/grpc_listeners.ts";
import { concat } from "../support/h2_raw.ts";
import { answer, Wire, WireBackend } from "../support/h2_wire.ts";
import { COUNTS_DESCRIPTORS } from "../support/net.ts";

/** How often each flood comes. */
const ROUNDS = 10;
/** Connections that send it at once. */
const AT_ONCE = 3;
/** How much the memory of the balancer may grow, in bytes, over its value behind the first round. */
const MAX_GROWTH = 32 * 2 ** 20;
/** CPU seconds that one flood may cost: some 20,000 frames are sent, of which few are looked at. */
const MAX_CPU = 0.1;

for (const name of ["grpcL7", "grpcL4"] as const) {
  Deno.test({
    name: `${name}: floods again and again cost little, are counted each, and disturb nobody`,
    ignore: !COUNTS_DESCRIPTORS,
    async fn() {
      await using backend = WireBackend.listen({
        onEnd: (request) => request.path === "/steady" ? void answer(request) : undefined,
      });
      await using balancer = await BalancerProcess.start({ [name]: { backends: [backend.addr] } });
      const addr = balancer.addresses[name];
      await using steady = await SteadyCaller.start(addr);
      const floods = ABUSE_CASES.map((one) => ({ ...one, bytes: concat(...one.frames(1)) }));
      let peak = 0;
      let warm = 0;
      const cpu = balancer.cpuSeconds;
      for (let round = 0; round < ROUNDS; round++) {
        for (const { id, bytes, verdict } of floods) {
          const wires = await Promise.all(
            Array.from({ length: AT_ONCE }, () => Wire.open(addr)),
          );
          for (const wire of wires) void wire.send(bytes);
          for (const wire of wires) {
            await wire.until(() => wire.ended, `${id}: the end of the connection`);
            assert(verdict.type === "goaway");
            assertEquals(wire.farewell?.code, verdict.code, id);
            await wire.close();
          }
          peak = Math.max(peak, balancer.residentBytes);
        }
        if (round === 0) warm = peak;
      }
      assertLess(peak - warm, MAX_GROWTH, `${warm} bytes behind the first round, at most ${peak}`);
      const each = (balancer.cpuSeconds - cpu) / (ROUNDS * AT_ONCE * floods.length);
      assertLess(each, MAX_CPU, "CPU seconds for each flood");
      await steady.stop();
      assertEquals(steady.errors, []);
      assert(steady.answered > 30, `only ${steady.answered} calls beside`);
      const metrics = await balancer.metrics();
      const counts = new Map<string, number>();
      for (const { verdict } of ABUSE_CASES) {
        if (verdict.type !== "goaway" || verdict.reason === undefined) continue;
        counts.set(verdict.reason, (counts.get(verdict.reason) ?? 0) + ROUNDS * AT_ONCE);
      }
      for (const [reason, count] of counts) {
        assertMatch(
          metrics,
          new RegExp(`^lb_refusals_total\\{.*reason="${reason}".*\\} ${count}$`, "m"),
        );
      }
    },
  });
}
