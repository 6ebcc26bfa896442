/** What one pick costs, by strategy and number of candidates. */

import { createStrategy, strategies } from "../../lib/strategy/mod.ts";

for (const size of [2, 10, 1000]) {
  for (const name of Object.keys(strategies)) {
    const candidates = Array.from({ length: size }, (_, index) => ({
      addr: `10.0.${index >> 8}.${index & 255}:80`,
      weight: 1 + index % 3,
      inFlight: index % 7,
    }));
    const strategy = createStrategy(name, candidates);
    let key = 0;
    Deno.bench({
      name: `${name}, ${size} candidates`,
      group: `${size} candidates`,
      baseline: name === "round-robin",
      fn: () => void strategy.next(undefined, key = (key + 0x9e3779b9) >>> 0),
    });
  }
}
