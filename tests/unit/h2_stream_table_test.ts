import { assertEquals, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import { type Identified, StreamTable } from "../../lib/http/h2/stream_table.ts";

Deno.test("streams are found by their identifiers as long as they are in", () => {
  const table = new StreamTable<Identified>();
  const one = { id: 1 };
  table.add(one);
  assertStrictEquals(table.get(1), one);
  assertEquals([table.get(3), table.get(33), table.size], [undefined, undefined, 1]);
  assertEquals([table.delete(33), table.delete(1), table.delete(1)], [false, true, false]);
  assertEquals([table.get(1), table.size, table.list()], [undefined, 0, []]);
});

Deno.test("a table does what a map does, however old some streams become", () => {
  // What happens to whom: the next stream opens, or one of those that are open ends, the first more often than others.
  const event = fc.oneof(
    fc.constant("open" as const),
    fc.constant("open" as const),
    fc.nat({ max: 40 }),
    fc.nat({ max: 1 }),
    // Many at once, so that identifiers go round the table.
    fc.constant("burst" as const),
  );
  fc.assert(
    fc.property(fc.array(event, { maxLength: 400 }), fc.boolean(), (events, ofServer) => {
      const table = new StreamTable<Identified>();
      const map = new Map<number, Identified>();
      let next = ofServer ? 2 : 1;
      const open = () => {
        const stream = { id: next };
        next += 2;
        table.add(stream);
        map.set(stream.id, stream);
      };
      const end = (id: number) => assertEquals(table.delete(id), map.delete(id));
      for (const happens of events) {
        if (happens === "open") open();
        else if (happens === "burst") {
          for (let i = 0; i < 30; i++) {
            open();
            end(next - 2);
          }
        } else {
          const id = [...map.keys()][happens];
          end(id ?? next);
        }
        assertEquals(table.size, map.size);
      }
      for (let id = next % 2; id < next + 2; id += 2) {
        assertStrictEquals(table.get(id), map.get(id));
      }
      assertEquals(
        table.list().map(({ id }) => id).sort((a, b) => a - b),
        [...map.keys()].sort((a, b) => a - b),
      );
    }),
    { seed: 20261122, numRuns: 300 },
  );
});
