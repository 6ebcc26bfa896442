import { assertEquals } from "@std/assert";
import {
  type Idleness,
  MIN_IDLE_MS,
  SHED_AT_ONCE,
  type Sheddable,
  shedIdle,
} from "../../lib/mux/idle_shedding.ts";

function connection(idleness: Idleness | undefined, name: string, shed: string[]): Sheddable {
  return { idleness: () => idleness, drain: () => void shed.push(name) };
}

Deno.test("those that have been idle longest go first", () => {
  const shed: string[] = [];
  const count = shedIdle([
    connection({ time: 2000, used: true }, "old", shed),
    connection({ time: 9000, used: true }, "older", shed),
  ]);
  assertEquals([count, shed], [2, ["older", "old"]]);
});

Deno.test("while there are unused connections, used ones stay", () => {
  const shed: string[] = [];
  const all = [
    connection({ time: 9000, used: true }, "used", shed),
    connection({ time: 2000, used: false }, "unused", shed),
    connection({ time: 5000, used: false }, "long unused", shed),
    connection({ time: 0, used: false }, "new", shed),
  ];
  assertEquals([shedIdle(all), shed], [2, ["long unused", "unused"]]);
  assertEquals(shedIdle([all[0]!, all[3]!]), 0, "the new one is one that will have to go");
  assertEquals(shedIdle([all[0]!]), 1);
});

Deno.test("what carries something, or carried it a moment ago, stays", () => {
  const shed: string[] = [];
  const count = shedIdle([
    connection(undefined, "busy", shed),
    connection({ time: MIN_IDLE_MS - 1, used: true }, "young", shed),
    { drain: () => void shed.push("unknown") },
    connection({ time: NaN, used: true }, "never idle", shed),
  ]);
  assertEquals([count, shed], [0, []]);
});

Deno.test("only so many go at once", () => {
  const shed: string[] = [];
  const all = Array.from(
    { length: 3 * SHED_AT_ONCE },
    (_, i) => connection({ time: MIN_IDLE_MS + i, used: true }, String(i), shed),
  );
  assertEquals(shedIdle(all), SHED_AT_ONCE);
  assertEquals(shed[0], String(3 * SHED_AT_ONCE - 1));
});
