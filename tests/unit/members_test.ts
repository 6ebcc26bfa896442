import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { Members, type Place } from "../../lib/common/members.ts";

Deno.test("members hold what a set would, whoever leaves", () => {
  const steps = fc.array(fc.record({ adds: fc.boolean(), pick: fc.nat() }), { maxLength: 200 });
  fc.assert(
    fc.property(steps, (steps) => {
      const members = new Members<number>();
      const expected = new Set<number>();
      const places: Place<number>[] = [];
      for (const { adds, pick } of steps) {
        if (adds || places.length === 0) {
          const member = places.length;
          places.push(members.add(member));
          expected.add(member);
        } else {
          const place = places[pick % places.length]!;
          assertEquals(members.delete(place), expected.delete(place.member));
        }
        assertEquals(members.size, expected.size);
        assertEquals(members.list().sort((a, b) => a - b), [...expected]);
      }
    }),
    { seed: 4, numRuns: 200 },
  );
});

Deno.test("the list of members may be walked while they leave and others come", () => {
  const members = new Members<string>();
  const places = new Map(["a", "b", "c"].map((name) => [name, members.add(name)]));
  const seen: string[] = [];
  for (const name of members.list()) {
    seen.push(name);
    members.delete(places.get(name)!);
    members.add(`${name}2`);
  }
  assertEquals(seen.sort(), ["a", "b", "c"]);
  assertEquals(members.list().sort(), ["a2", "b2", "c2"]);
});
