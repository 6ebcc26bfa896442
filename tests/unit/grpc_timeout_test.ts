import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import fc from "fast-check";
import { encodeTimeout, parseTimeout } from "../../lib/grpc/timeout.ts";

function parse(text: string): number | undefined {
  const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
  return parseTimeout(bytes, 0, bytes.length);
}

Deno.test("a timeout is one to eight digits and a unit", () => {
  const cases: [text: string, ms: number][] = [
    ["1H", 3_600_000],
    ["2M", 120_000],
    ["5S", 5000],
    ["250m", 250],
    ["1500u", 1.5],
    ["99999999n", 99.999999],
    ["99999999H", 99_999_999 * 3_600_000],
    ["00000001S", 1000],
    ["0m", 0],
  ];
  for (const [text, ms] of cases) assertAlmostEquals(parse(text)!, ms, 1e-9, text);
});

Deno.test("anything else is malformed, as for grpc-go's servers", () => {
  const malformed = [
    "",
    "S",
    "1",
    "100000000S",
    "1s",
    "1h",
    "1U",
    "-1S",
    "+1S",
    "1.5S",
    " 1S",
    "1S ",
  ];
  for (const text of [...malformed, "1S, 2S", "1ms", "٣S", "1\xd3", "0x1S", "١m"]) {
    assertEquals(parse(text), undefined, text);
  }
});

Deno.test("the range that is looked at is the one that was named", () => {
  const bytes = Uint8Array.from("x12Sy", (character) => character.charCodeAt(0));
  assertEquals(parseTimeout(bytes, 1, 4), 12_000);
});

Deno.test("what is written is well-formed, never longer than what is left, and hardly shorter", () => {
  assertEquals(
    [0, 0.5, 1.2345, 250, 99_999, 200_000, 1e9, 1e12, 1e15, 1e300].map(encodeTimeout),
    [
      "0u",
      "500u",
      "1234u",
      "250000u",
      "99999000u",
      "200000m",
      "1000000S",
      "16666666M",
      "99999999H",
      "99999999H",
    ],
  );
  fc.assert(
    fc.property(fc.double({ min: 0.001, max: 3e14, noNaN: true }), (ms) => {
      const read = parse(encodeTimeout(ms));
      assert(read !== undefined && read <= ms + ms * 1e-9, `${ms} gave ${read}`);
      assert(ms - read <= Math.max(0.001, ms / 99_999), `${ms} gave ${read}`);
    }),
    { seed: 20261123, numRuns: 1000 },
  );
});
