/** RFC 7541, appendix C, in full. */
import { assertEquals } from "@std/assert";
import { Decoder } from "../../lib/http/h2/hpack/decoder.ts";
import { encodeName, Encoder } from "../../lib/http/h2/hpack/encoder.ts";
import { encodeHuffman, huffmanLength } from "../../lib/http/h2/hpack/huffman.ts";
import { IntegerReader, putInteger } from "../../lib/http/h2/hpack/integer.ts";
import { decodeBlock, fromHex, toHex, written } from "../support/hpack.ts";
import { RFC7541_EXAMPLES } from "../support/rfc7541_examples.ts";
import { latin1 } from "../../lib/http/h1/chars.ts";

/** C.1: value, prefix mask, bits before the prefix, encoded. */
const INTEGERS: readonly (readonly [number, number, number, string])[] = [
  [10, 0x1f, 0x00, "0a"],
  [1337, 0x1f, 0x00, "1f9a0a"],
  [42, 0xff, 0x00, "2a"],
  // The same behind the pattern of a size update, whose bits must stay.
  [1337, 0x1f, 0x20, "3f9a0a"],
];

for (const [value, mask, pattern, hex] of INTEGERS) {
  Deno.test(`RFC 7541 C.1: ${value} behind ${pattern} with prefix ${mask} is ${hex}`, () => {
    const bytes = new Uint8Array(6);
    const end = putInteger(bytes, 0, value, { mask, pattern });
    assertEquals(toHex(bytes.subarray(0, end)), hex);
    const reader = new IntegerReader();
    assertEquals(reader.read(fromHex(hex), 0, hex.length / 2, mask), value);
    assertEquals(reader.next, hex.length / 2);
  });
}

for (const { name, tableSize, blocks } of RFC7541_EXAMPLES) {
  Deno.test(`RFC 7541 ${name}: decodes to the given fields and table`, () => {
    const decoder = new Decoder(tableSize);
    for (const block of blocks) {
      const { verdict, fields } = decodeBlock(fromHex(block.hex), decoder);
      assertEquals(verdict, "ok");
      assertEquals(fields, [...block.fields]);
      assertEquals(decoder.tableSize, block.tableSize);
      assertEquals(decoder.tableCount, block.table.length);
      // Index 62 is the newest entry of the dynamic table; looking does not change it.
      const all = Uint8Array.from(block.table, (_, index) => 0x80 + 62 + index);
      assertEquals(decodeBlock(all, decoder).fields, [...block.table]);
    }
  });
}

Deno.test("RFC 7541 C.2.2 to C.2.4: the stateless encoder writes the same bytes", () => {
  const encoder = new Encoder();
  assertEquals(
    toHex(written((out) => encoder.field(out, encodeName(":path"), "/sample/path"))),
    "040c2f73616d706c652f70617468",
  );
  assertEquals(
    toHex(written((out) => encoder.field(out, encodeName("password", true), "secret"))),
    "100870617373776f726406736563726574",
  );
  assertEquals(toHex(written((out) => encoder.indexed(out, 2))), "82");
});

/** C.4 and C.6: texts and their Huffman codes. */
const HUFFMAN: readonly (readonly [string, string])[] = [
  ["www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"],
  ["no-cache", "a8eb10649cbf"],
  ["custom-key", "25a849e95ba97d7f"],
  ["custom-value", "25a849e95bb8e8b4bf"],
  ["302", "6402"],
  ["307", "640eff"],
  ["private", "aec3771a4b"],
  ["Mon, 21 Oct 2013 20:13:21 GMT", "d07abe941054d444a8200595040b8166e082a62d1bff"],
  ["https://www.example.com", "9d29ad171863c78f0b97c8e9ae82ae43d3"],
  ["gzip", "9bd9ab"],
  [
    "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
    "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
  ],
];

for (const [text, hex] of HUFFMAN) {
  Deno.test(`RFC 7541 C.4 and C.6: Huffman encodes ${JSON.stringify(text)} as given`, () => {
    const from = latin1(text);
    assertEquals(huffmanLength(from, 0, from.length), hex.length / 2);
    const to = new Uint8Array(hex.length / 2);
    assertEquals(encodeHuffman(from, { start: 0, end: from.length }, to, 0), to.length);
    assertEquals(toHex(to), hex);
  });
}
