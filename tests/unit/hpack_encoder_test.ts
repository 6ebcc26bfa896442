/** What the stateless HPACK encoder writes, and how it copies blocks of others. */
import { assert, assertEquals, assertLess } from "@std/assert";
import fc from "fast-check";
import { latin1 } from "../../lib/http/h1/chars.ts";
import { Decoder } from "../../lib/http/h2/hpack/decoder.ts";
import { encodeName, Encoder, type FieldFilter } from "../../lib/http/h2/hpack/encoder.ts";
import { FieldFlag, type FieldList } from "../../lib/http/h2/hpack/field_list.ts";
import {
  identifyName,
  NAME_COUNT,
  nameFlags,
  nameId,
  nameOf,
  OTHER_NAME,
} from "../../lib/http/h2/hpack/names.ts";
import {
  bytesOf,
  decodeBlock,
  encodePairs,
  fromHex,
  type Pair,
  toHex,
  written,
} from "../support/hpack.ts";
import { PEER_CONNECTIONS } from "../support/hpack_peer_blocks.ts";

const SEED = 7541;
const NOTHING: FieldFilter = { skip: nameFlags() };

/** Decodes a block that must not need any state. */
function decodeStateless(block: Uint8Array): { fields: Pair[]; list: FieldList } {
  const { verdict, fields, list } = decodeBlock(block, new Decoder(0));
  assertEquals(verdict, "ok");
  return { fields, list };
}

const names = fc.oneof(
  fc.constantFrom(":path", "accept", "te", "grpc-timeout", "cookie", "www-authenticate"),
  fc.string({ unit: fc.constantFrom(..."abcxyz-_0189"), minLength: 1, maxLength: 40 }),
);
const values = fc.oneof(
  fc.string({ unit: "grapheme-ascii", maxLength: 30 }),
  fc.string({ maxLength: 300 }),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => String.fromCharCode(...bytes)),
);

for (const huffman of [false, true]) {
  Deno.test(`fields come back from the decoder as they were encoded, Huffman ${huffman}`, () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(names, values), { maxLength: 20 }), (pairs) => {
        const { fields, list } = decodeStateless(encodePairs(pairs, huffman));
        assertEquals(fields, pairs);
        assertEquals(list.allFlags & (FieldFlag.Dynamic | FieldFlag.Incremental), 0);
      }),
      { seed: SEED, numRuns: 500 },
    );
  });
}

Deno.test("Huffman coding is used only where it is shorter", () => {
  assertEquals(toHex(encodePairs([["a", "302"]], true)), "00016182" + "6402");
  assertEquals(toHex(encodePairs([["a", "\x00\x01"]], true)), "000161" + "020001");
  const text = "application/grpc";
  assertLess(encodePairs([["a", text]], true).length, encodePairs([["a", text]]).length);
});

Deno.test("statuses of the static table take one byte, others five", () => {
  const encoder = new Encoder();
  for (
    const [status, length] of [[200, 1], [204, 1], [206, 1], [304, 1], [400, 1], [404, 1], [500, 1]]
  ) {
    assertEquals(written((out) => encoder.status(out, status!)).length, length);
  }
  for (let status = 100; status < 600; status++) {
    const block = written((out) => encoder.status(out, status));
    assert(block.length === 1 || block.length === 5);
    assertEquals(decodeStateless(block).fields, [[":status", String(status)]]);
  }
});

Deno.test("a name of the static table is written as its index, another one as it is", () => {
  assertEquals(toHex(encodeName("content-type").bytes), "0f10"); // 31 = 15 + 16
  assertEquals(toHex(encodeName(":path").bytes), "04");
  assertEquals(toHex(encodeName("te").bytes), "00027465");
  assertEquals(toHex(encodeName("authorization", true).bytes), "1f08"); // 23 = 15 + 8
});

Deno.test("values that are ranges of bytes are written as they are", () => {
  const encoder = new Encoder();
  const from = bytesOf("xx\x80\xffyy");
  const block = written((out) => encoder.fieldRange(out, encodeName("te"), from, 2, 4));
  assertEquals(decodeStateless(block).fields, [["te", "\x80\xff"]]);
});

Deno.test("names of HTTP/1.1 are put in lower case", () => {
  const encoder = new Encoder();
  const from = latin1("..X-Abc_Z: Value..");
  const offsets = Int32Array.of(0, 7, 9, 14);
  const block = written((out) =>
    encoder.anyField(out, from, offsets, { slot: 0, base: 2, neverIndexed: true })
  );
  const { fields, list } = decodeStateless(block);
  assertEquals(fields, [["x-abc_z", "Value"]]);
  assertEquals(list.allFlags, FieldFlag.NeverIndexed);
});

Deno.test("a size update to 0 is due once after each reduction of the peer's table, and only then", () => {
  const encoder = new Encoder();
  const begin = () => toHex(written((out) => encoder.begin(out)));
  assertEquals(begin(), "");
  encoder.limitTable(4096);
  encoder.limitTable(8192);
  assertEquals(begin(), "");
  encoder.limitTable(4096);
  assertEquals([begin(), begin()], ["20", ""]);
  encoder.limitTable(0);
  assertEquals([begin(), begin()], ["20", ""]);
  encoder.limitTable(100);
  assertEquals(begin(), "");
});

Deno.test("a block that carries no state is copied byte for byte, up to the fields left out", () => {
  const pairs: Pair[] = [[":path", "/"], ["te", "trailers"], ["x-a", "1"], ["cookie", "a=b"]];
  for (const huffman of [false, true]) {
    const { list } = decodeBlock(encodePairs(pairs, huffman));
    const encoder = new Encoder();
    const copy = (filter: FieldFilter) => written((out) => encoder.copy(out, list, filter));
    assertEquals(copy(NOTHING), encodePairs(pairs, huffman));
    assertEquals(
      copy({ skip: nameFlags("te") }),
      encodePairs(pairs.toSpliced(1, 1), huffman),
    );
    assertEquals(
      copy({ skip: nameFlags("cookie"), drop: new Set(["x-a"]) }),
      encodePairs(pairs.slice(0, 2), huffman),
    );
    assertEquals(
      written((out) => encoder.copy(out, list, NOTHING, { from: 1, to: 3 })),
      encodePairs(pairs.slice(1, 3), huffman),
    );
  }
});

Deno.test("a size update in front of a block is not copied", () => {
  const block = encodePairs([["a", "b"]]);
  const { list } = decodeBlock(bytesOf(0x20, block));
  assertEquals(written((out) => new Encoder().copy(out, list, NOTHING)), block);
});

Deno.test("a literal that asks to be indexed is copied without asking, in the same coding", () => {
  for (const name of ["x-a", ":path", "content-type", "www-authenticate"]) {
    for (const huffman of [false, true]) {
      const block = encodePairs([[name, "302"]], huffman);
      const incremental = nameId(name) > 0
        ? bytesOf(
          0x40 | (block[0]! < 15 ? block[0]! : 15 + block[1]!),
          block.subarray(block[0]! < 15 ? 1 : 2),
        )
        : bytesOf(0x40, block.subarray(1));
      const { verdict, fields, list } = decodeBlock(incremental);
      assertEquals([verdict, fields], ["ok", [[name, "302"]]]);
      assertEquals(list.allFlags, FieldFlag.Incremental);
      assertEquals(toHex(written((out) => new Encoder().copy(out, list, NOTHING))), toHex(block));
    }
  }
});

for (const huffman of [false, true]) {
  Deno.test(`blocks full of state become blocks without any, Huffman ${huffman}`, () => {
    for (const blocks of PEER_CONNECTIONS) {
      const decoder = new Decoder();
      const encoder = new Encoder({ huffman });
      for (const { hex, fields } of blocks) {
        const { list } = decodeBlock(fromHex(hex), decoder);
        const copy = decodeStateless(written((out) => encoder.copy(out, list, NOTHING)));
        assertEquals(copy.fields, [...fields]);
        assertEquals(copy.list.allFlags & (FieldFlag.Dynamic | FieldFlag.Incremental), 0);
        for (let i = 0; i < list.count; i++) {
          assertEquals(
            copy.list.flags[i]! & FieldFlag.NeverIndexed,
            list.flags[i]! & FieldFlag.NeverIndexed,
          );
        }
      }
    }
  });
}

Deno.test("a field that must never be indexed stays so, also when its name was in the table", () => {
  const block = bytesOf(0x40, 3, "abc", 1, "x", 0x1f, 62 - 15, 1, "y", 0x53, 1, "z"); // 0x53: accept
  const { list } = decodeBlock(block);
  const copy = decodeStateless(written((out) => new Encoder().copy(out, list, NOTHING)));
  assertEquals(copy.fields, [["abc", "x"], ["abc", "y"], ["accept", "z"]]);
  assertEquals([...copy.list.flags.subarray(0, 3)], [0, FieldFlag.NeverIndexed, 0]);
});

Deno.test("every known name is told apart, and nothing else is taken for one", () => {
  for (let id = 1; id < NAME_COUNT; id++) {
    const name = nameOf(id);
    const bytes = latin1(`<${name}>`);
    assertEquals(nameId(name), id);
    assertEquals(identifyName(bytes, 1, bytes.length - 1), id);
    assertEquals(identifyName(bytes, 1, bytes.length), OTHER_NAME);
    assertEquals(identifyName(bytes, 1, bytes.length - 2) === id, false);
    for (let i = 1; i <= name.length; i++) {
      const other = bytes.slice();
      other[i]! ^= 1;
      assert(identifyName(other, 1, other.length - 1) !== id);
    }
  }
  assertEquals(identifyName(new Uint8Array(3), 1, 1), OTHER_NAME);
});
