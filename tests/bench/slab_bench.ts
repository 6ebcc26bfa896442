/** What a copy of a few bytes costs that is kept for a while: with memory of its own, and in a chunk that many share. */
import { Slab } from "../../lib/common/slab.ts";

const from = new Uint8Array(4096);
const slab = new Slab();
/** Copies live as long as calls do, so they are not thrown away at once. */
const kept: Uint8Array[] = new Array(128).fill(from);
let at = 0;

for (const size of [9, 48, 160, 400]) {
  Deno.bench(`${size} bytes, slice`, { group: `${size} bytes` }, () => {
    kept[at++ & 127] = from.slice(3, 3 + size);
  });

  Deno.bench(`${size} bytes, slab`, { group: `${size} bytes`, baseline: true }, () => {
    kept[at++ & 127] = slab.copy(from, 3, 3 + size);
  });
}
