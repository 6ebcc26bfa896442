/** What the HPACK decoder takes, refuses and keeps within bounds. */
import { assert, assertEquals, assertLess, assertLessOrEqual } from "@std/assert";
import fc from "fast-check";
import { latin1 } from "../../lib/http/h1/chars.ts";
import { Decoder, type DecodeVerdict } from "../../lib/http/h2/hpack/decoder.ts";
import { FieldFlag, FieldList } from "../../lib/http/h2/hpack/field_list.ts";
import { encodeHuffman, huffmanLength } from "../../lib/http/h2/hpack/huffman.ts";
import { putInteger } from "../../lib/http/h2/hpack/integer.ts";
import { STATIC_COUNT } from "../../lib/http/h2/hpack/static_table.ts";
import {
  bytesOf,
  decodeBlock,
  encodePairs,
  fromHex,
  listOf,
  type Pair,
  pairsOf,
  WIDE_LIMITS,
} from "../support/hpack.ts";
import { PEER_CONNECTIONS } from "../support/hpack_peer_blocks.ts";
import { RFC7541_EXAMPLES } from "../support/rfc7541_examples.ts";

const SEED = 7541;

/** A raw string literal of up to 126 bytes. */
function raw(text: string): Uint8Array {
  return bytesOf(text.length, text);
}

/** A string literal in Huffman code. */
function huffman(text: string): Uint8Array {
  const from = latin1(text);
  const length = huffmanLength(from, 0, from.length);
  const bytes = new Uint8Array(length + 1);
  bytes[0] = 0x80 | length;
  encodeHuffman(from, { start: 0, end: from.length }, bytes, 1);
  return bytes;
}

/** A size update (RFC 7541, section 6.3). */
function sizeUpdate(size: number): Uint8Array {
  const bytes = new Uint8Array(6);
  return bytes.subarray(0, putInteger(bytes, 0, size, { mask: 0x1f, pattern: 0x20 }));
}

for (const [number, blocks] of PEER_CONNECTIONS.entries()) {
  Deno.test(`blocks of another encoder decode to their fields, connection ${number}`, () => {
    const decoder = new Decoder();
    for (const { hex, fields, tableSize } of blocks) {
      const result = decodeBlock(fromHex(hex), decoder);
      assertEquals(result.verdict, "ok");
      assertEquals(result.fields, [...fields]);
      assertEquals(decoder.tableSize, tableSize);
    }
  });
}

Deno.test("every index of the static table decodes to its entry", () => {
  const block = Uint8Array.from({ length: STATIC_COUNT }, (_, i) => 0x81 + i);
  const { verdict, fields } = decodeBlock(block);
  assertEquals(verdict, "ok");
  assertEquals(fields.length, 61);
  assertEquals(fields[0], [":authority", ""]);
  assertEquals(fields[1], [":method", "GET"]);
  assertEquals(fields[15], ["accept-encoding", "gzip, deflate"]);
  assertEquals(fields[60], ["www-authenticate", ""]);
});

interface Case {
  readonly name: string;
  readonly block: Uint8Array;
  readonly verdict: DecodeVerdict;
  readonly fields?: readonly Pair[];
}

const AB: Pair = ["a", "b"];

const CASES: readonly Case[] = [
  { name: "an empty block", block: bytesOf(), verdict: "ok", fields: [] },
  // RFC 7541, section 6.1
  { name: "index 0", block: bytesOf(0x80), verdict: "compression" },
  { name: "an index behind the dynamic table", block: bytesOf(0xbe), verdict: "compression" },
  { name: "index 200", block: bytesOf(0xff, 200 - 127), verdict: "compression" },
  {
    name: "a name index behind the table",
    block: bytesOf(0x7f, 0, raw("")),
    verdict: "compression",
  },
  {
    name: "the newest entry of the dynamic table",
    block: bytesOf(0x40, raw("a"), raw("b"), 0xbe),
    verdict: "ok",
    fields: [AB, AB],
  },
  // Sections 4.2 and 6.3
  { name: "a size update at the start", block: bytesOf(0x20, 0x82), verdict: "ok" },
  { name: "two size updates at the start", block: bytesOf(0x20, sizeUpdate(4096)), verdict: "ok" },
  { name: "a size update behind a field", block: bytesOf(0x82, 0x20), verdict: "compression" },
  {
    name: "a size update above the limit",
    block: sizeUpdate(4097),
    verdict: "compression",
  },
  { name: "a size update that is cut off", block: bytesOf(0x3f), verdict: "compression" },
  {
    name: "an entry that a size update evicted",
    block: bytesOf(0x20, 0x40, raw("a"), raw("b"), 0xbe),
    verdict: "compression",
  },
  // Section 5.1
  {
    name: "an integer of four octets",
    block: bytesOf(0x82, 0xff, 0x80, 0x80),
    verdict: "compression",
  },
  {
    name: "an index with needless zeros",
    block: bytesOf(0x1f, 0x80, 0x80, 0x80, 0x00, raw("x")),
    verdict: "ok",
    fields: [["accept-charset", "x"]],
  },
  {
    name: "an integer longer than the limit",
    block: bytesOf(0x1f, 0x80, 0x80, 0x80, 0x80, 0x00, raw("x")),
    verdict: "compression",
  },
  {
    name: "a length near 2^28",
    block: bytesOf(0x00, 0x7f, 0xff, 0xff, 0xff, 0x7f),
    verdict: "compression",
  },
  // Section 5.2
  { name: "a literal without a name", block: bytesOf(0x00), verdict: "compression" },
  { name: "a literal without a value", block: bytesOf(0x00, raw("a")), verdict: "compression" },
  { name: "a name that is cut off", block: bytesOf(0x00, 2, "a"), verdict: "compression" },
  {
    name: "a value that is cut off",
    block: bytesOf(0x00, raw("a"), 2, "b"),
    verdict: "compression",
  },
  {
    name: "a Huffman value that is cut off",
    block: bytesOf(0x00, raw("a"), 0x82, 0x1c),
    verdict: "compression",
  },
  {
    name: "an empty Huffman string",
    block: bytesOf(0x00, raw("a"), 0x80),
    verdict: "ok",
    fields: [["a", ""]],
  },
  {
    name: "seven bits of padding", // `0` is 00000
    block: bytesOf(0x00, raw("a"), 0x84, 0x00, 0x00, 0x00, 0x7f),
    verdict: "ok",
    fields: [["a", "00000"]],
  },
  {
    name: "27 bits of padding",
    block: bytesOf(0x00, raw("a"), 0x84, 0x07, 0xff, 0xff, 0xff),
    verdict: "compression",
  },
  {
    name: "eight bits of padding",
    block: bytesOf(0x00, raw("a"), 0x83, 0x1c, 0x7f, 0xff), // `b`, then 18 ones
    verdict: "compression",
  },
  {
    name: "a string of padding only",
    block: bytesOf(0x00, raw("a"), 0x81, 0xff),
    verdict: "compression",
  },
  {
    name: "padding with a zero",
    block: bytesOf(0x00, raw("a"), 0x81, 0x1e), // `a` is 00011, then 110
    verdict: "compression",
  },
  {
    name: "padding of zeros",
    block: bytesOf(0x00, raw("a"), 0x81, 0x18),
    verdict: "compression",
  },
  {
    name: "EOS in a string",
    block: bytesOf(0x00, raw("a"), 0x84, 0xff, 0xff, 0xff, 0xff),
    verdict: "compression",
  },
  {
    name: "EOS behind a symbol",
    block: bytesOf(0x00, raw("a"), 0x85, 0x1f, 0xff, 0xff, 0xff, 0xff),
    verdict: "compression",
  },
];

for (const { name, block, verdict, fields } of CASES) {
  Deno.test(`the verdict on ${name} is ${verdict}`, () => {
    const result = decodeBlock(block);
    assertEquals(result.verdict, verdict);
    if (fields !== undefined) assertEquals(result.fields, [...fields]);
  });
}

Deno.test("padding may be any number of ones up to seven, and no more", () => {
  // Codes of 5 to 8 bits leave every remainder.
  for (const text of ["0", " ", ":", "&", "0 ", "00", "0:", "&0", "::", "  "]) {
    const bytes = huffman(text);
    assertEquals(decodeBlock(bytesOf(0x00, raw("a"), bytes)).fields, [["a", text]]);
    const longer = bytesOf(bytes[0]! + 1, bytes.subarray(1), 0xff);
    assertEquals(decodeBlock(bytesOf(0x00, raw("a"), longer)).verdict, "compression");
  }
});

Deno.test("all 256 byte values survive Huffman coding", () => {
  const text = String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i));
  const block = encodePairs([["a", text]], true);
  // Long codes make it longer, and then the encoder leaves it.
  assertEquals(decodeBlock(block).fields, [["a", text]]);
  for (let byte = 0; byte < 256; byte++) {
    const value = String.fromCharCode(byte);
    assertEquals(decodeBlock(bytesOf(0x00, raw("a"), huffman(value))).fields, [["a", value]]);
  }
});

Deno.test("an entry may take its name from the entry that it evicts", () => {
  const decoder = new Decoder(40);
  assertEquals(decodeBlock(bytesOf(0x40, raw("name"), raw("1")), decoder).verdict, "ok");
  assertEquals(decoder.tableCount, 1);
  assertEquals(decodeBlock(bytesOf(0x7e, raw("2")), decoder).fields, [["name", "2"]]);
  assertEquals(decodeBlock(bytesOf(0xbe), decoder).fields, [["name", "2"]]);
  assertEquals(decoder.tableCount, 1);
});

Deno.test("an entry larger than the table empties it", () => {
  const decoder = new Decoder(64);
  decodeBlock(bytesOf(0x40, raw("a"), raw("b")), decoder);
  assertEquals(decoder.tableSize, 34);
  assertEquals(decodeBlock(bytesOf(0x40, raw("a"), raw("b".repeat(40))), decoder).verdict, "ok");
  assertEquals([decoder.tableSize, decoder.tableCount], [0, 0]);
});

Deno.test("a table that shrinks and grows again keeps its newest entries", () => {
  const decoder = new Decoder();
  const entries = Array.from({ length: 20 }, (_, i): Pair => [`name-${i}`, "v".repeat(i)]);
  for (const [name, value] of entries) {
    decodeBlock(bytesOf(0x40, raw(name), raw(value)), decoder);
  }
  assertEquals(decodeBlock(sizeUpdate(300), decoder).verdict, "ok");
  // The newest entries take 58, 57, 56 … bytes.
  assertEquals(decoder.tableSize, 58 + 57 + 56 + 55 + 54);
  const kept = entries.toReversed().slice(0, decoder.tableCount);
  const all = Uint8Array.from(kept, (_, i) => 0xbe + i);
  assertEquals(decodeBlock(all, decoder).fields, kept);
  assertEquals(decodeBlock(bytesOf(sizeUpdate(4096), all), decoder).fields, kept);
  decodeBlock(bytesOf(0x40, raw("new"), raw("1")), decoder);
  assertEquals(decodeBlock(bytesOf(0xbe, 0xbf), decoder).fields, [["new", "1"], kept[0]!]);
});

Deno.test("a peer whose table would lose entries must announce its size", () => {
  const decoder = new Decoder();
  decodeBlock(bytesOf(0x40, raw("a"), raw("b")), decoder);
  decoder.limitTable(0);
  assertEquals(decodeBlock(bytesOf(0x82), decoder).verdict, "compression");
});

Deno.test("the announced size must be below every limit since the last block", () => {
  for (
    const [update, verdict] of [[sizeUpdate(31), "compression"], [sizeUpdate(0), "ok"]] as const
  ) {
    const decoder = new Decoder();
    decodeBlock(bytesOf(0x40, raw("a"), raw("b")), decoder);
    decoder.limitTable(0);
    decoder.limitTable(4096);
    assertEquals(decodeBlock(bytesOf(update, 0x82), decoder).verdict, verdict);
  }
});

Deno.test("a peer that never used its table need not announce its size, but cannot use it then", () => {
  const decoder = new Decoder();
  assertEquals(decoder.stateless, false);
  decoder.limitTable(0);
  assertEquals(decoder.stateless, true);
  const { verdict, list } = decodeBlock(bytesOf(0x40, raw("a"), raw("b")), decoder);
  assertEquals(verdict, "ok");
  assertEquals(list.allFlags, FieldFlag.Incremental);
  assertEquals(decoder.tableCount, 0);
  assertEquals(decodeBlock(bytesOf(0xbe), decoder).verdict, "compression");
});

Deno.test("a limit that rises lets the peer use more once it says so", () => {
  const decoder = new Decoder(64);
  decoder.limitTable(128);
  assertEquals(decodeBlock(sizeUpdate(128), decoder).verdict, "ok");
  assertEquals(decodeBlock(sizeUpdate(129), decoder).verdict, "compression");
});

const { NeverIndexed, Incremental, Dynamic, BadName, BadValue } = FieldFlag;

/** The flags of the last field. */
const FLAGS: readonly (readonly [string, Uint8Array, number])[] = [
  ["an index of the static table", bytesOf(0x82), 0],
  ["a literal without indexing", bytesOf(0x00, raw("a"), raw("b")), 0],
  ["a literal that is never indexed", bytesOf(0x10, raw("a"), raw("b")), NeverIndexed],
  ["a literal with indexing", bytesOf(0x40, raw("a"), raw("b")), Incremental],
  ["an index of the dynamic table", bytesOf(0x40, raw("a"), raw("b"), 0xbe), Dynamic],
  [
    "a literal whose name is in the dynamic table",
    bytesOf(0x40, raw("a"), raw("b"), 0x0f, 62 - 15, raw("c")),
    Dynamic,
  ],
  [
    "an index of a bad entry of the dynamic table",
    bytesOf(0x40, raw("A"), raw("b\n"), 0xbe),
    Dynamic | BadName | BadValue,
  ],
  [
    "a bad name of the dynamic table with a good value",
    bytesOf(0x40, raw("A"), raw("b\n"), 0x0f, 62 - 15, raw("c")),
    Dynamic | BadName,
  ],
  ["an empty name", bytesOf(0x00, raw(""), raw("b")), BadName],
  ["a pseudo-field", bytesOf(0x00, raw(":path"), raw("/")), 0],
  ["a pseudo-field in Huffman code", bytesOf(0x00, huffman(":path"), raw("/")), 0],
  ["an unknown pseudo-field", bytesOf(0x00, raw(":paths"), raw("/")), BadName],
  ["an unknown pseudo-field in Huffman code", bytesOf(0x00, huffman(":x"), raw("/")), BadName],
  ["an empty value", bytesOf(0x00, raw("a"), raw("")), 0],
  ["white space inside a value", bytesOf(0x00, raw("a"), raw("b \t c")), 0],
  ["bytes above ASCII in a value", bytesOf(0x00, raw("a"), raw("\x80\xff")), 0],
];

for (const [name, block, flags] of FLAGS) {
  Deno.test(`the flags of ${name} are ${flags}`, () => {
    const { verdict, list } = decodeBlock(block);
    assertEquals(verdict, "ok");
    assertEquals(list.flags[list.count - 1], flags);
    assertEquals(list.allFlags & flags, flags);
  });
}

Deno.test("exactly the bytes of RFC 9110 and 9113 are good in names and values, coded or not", () => {
  for (let byte = 0; byte < 256; byte++) {
    const char = String.fromCharCode(byte);
    const goodName = /[a-z0-9!#$%&'*+\-.^_`|~]/.test(char);
    const goodValue = byte === 9 || (byte >= 32 && byte !== 127);
    for (const string of [raw, huffman]) {
      const name = decodeBlock(bytesOf(0x00, string(`x${char}y`), raw("v"))).list;
      assertEquals((name.allFlags & BadName) === 0, goodName, `name with ${byte}`);
      const value = decodeBlock(bytesOf(0x00, raw("n"), string(`x${char}y`))).list;
      assertEquals((value.allFlags & BadValue) === 0, goodValue, `value with ${byte}`);
    }
  }
});

Deno.test("white space at either end of a value is bad, coded or not", () => {
  for (const value of [" ", "\t", " a", "a ", "\ta", "a\t"]) {
    for (const string of [raw, huffman]) {
      const { list } = decodeBlock(bytesOf(0x00, raw("n"), string(value)));
      assertEquals(list.allFlags, BadValue, JSON.stringify(value));
    }
  }
});

Deno.test("the list size is counted as name, value and 32, to the byte", () => {
  const block = encodePairs([["abc", "de"], ["f", ""]]); // 37 and 33
  const limits = (maxListSize: number) => ({ ...WIDE_LIMITS, maxListSize });
  assertEquals(decodeBlock(block, new Decoder(), limits(70)).verdict, "ok");
  const { verdict, fields } = decodeBlock(block, new Decoder(), limits(69));
  assertEquals(verdict, "too_large");
  assertEquals(fields, [["abc", "de"]]);
});

Deno.test("fields are counted, each cookie crumb too", () => {
  const block = encodePairs([["cookie", "a=1"], ["cookie", "b=2"], ["cookie", "c=3"]]);
  const limits = (maxFields: number) => ({ ...WIDE_LIMITS, maxFields });
  assertEquals(decodeBlock(block, new Decoder(), limits(3)).verdict, "ok");
  const { verdict, list } = decodeBlock(block, new Decoder(), limits(2));
  assertEquals(verdict, "too_large");
  assertEquals(list.count, 2);
  assertEquals(list.get("cookie"), "a=1; b=2");
});

Deno.test("more fields than the first room grow the list up to its limit", () => {
  const pairs = Array.from({ length: 100 }, (_, i): Pair => [`n${i}`, `v${i}`]);
  const block = encodePairs(pairs);
  assertEquals(decodeBlock(block, new Decoder(), { ...WIDE_LIMITS, maxFields: 100 }).fields, pairs);
  const { verdict } = decodeBlock(block, new Decoder(), { ...WIDE_LIMITS, maxFields: 99 });
  assertEquals(verdict, "too_large");
});

Deno.test("a block that is too large still changes the table, so that the next one decodes", () => {
  const decoder = new Decoder();
  const block = bytesOf(
    encodePairs([["x", "y".repeat(100)]]),
    0x40,
    raw("a"),
    huffman("first"),
    0x7e,
    raw("second"),
    encodePairs([["x", "y".repeat(100)]]),
  );
  const { verdict, fields } = decodeBlock(block, decoder, { ...WIDE_LIMITS, maxListSize: 100 });
  assertEquals([verdict, fields.length], ["too_large", 0]);
  assertEquals(decodeBlock(bytesOf(0xbe, 0xbf), decoder).fields, [["a", "second"], ["a", "first"]]);
});

Deno.test("a block above its limit is refused before it is stored", () => {
  const list = new FieldList({ ...WIDE_LIMITS, maxBlock: 10 });
  assertEquals(list.append(new Uint8Array(6), 0, 6), true);
  assertEquals(list.append(new Uint8Array(5), 0, 5), false);
  assertEquals(list.append(new Uint8Array(4), 0, 4), true);
});

/** The storage that a list may have: see `FieldList`. */
function memoryOf(list: FieldList): number {
  return list.bytes.length + list.offsets.byteLength + list.representations.byteLength +
    list.textEnds.byteLength + list.names.length + list.flags.length;
}

interface Bomb {
  readonly name: string;
  readonly blocks: readonly Uint8Array[];
  readonly last: DecodeVerdict;
}

const BIG_ENTRY = bytesOf(0x40, raw("a"), 0x7f, 0xa1, 0x1e, "x".repeat(4000));
const BOMBS: readonly Bomb[] = [
  {
    name: "A9: an entry of 4000 bytes, referred to 12000 times",
    blocks: [BIG_ENTRY, new Uint8Array(12_000).fill(0xbe)],
    last: "excessive",
  },
  {
    name: "A9: an entry of 4000 bytes, referred to 3 times too often",
    blocks: [BIG_ENTRY, new Uint8Array(7).fill(0xbe)],
    last: "too_large",
  },
  {
    name: "A10: tiny fields, referred to 16000 times",
    blocks: [bytesOf(0x40, raw("a"), raw("")), new Uint8Array(16_000).fill(0xbe)],
    last: "excessive",
  },
  {
    name: "A10: cookie crumbs of the static table",
    blocks: [new Uint8Array(16_000).fill(0x80 | 32)],
    last: "excessive",
  },
  {
    name: "A10: 200 cookie crumbs",
    blocks: [new Uint8Array(200).fill(0x80 | 32)],
    last: "too_large",
  },
  {
    name: "entries that take a name of 4000 bytes from the table again and again",
    blocks: [
      bytesOf(0x40, 0x7f, 0xa1, 0x1e, "x".repeat(4000), raw("")),
      Uint8Array.from({ length: 16_000 }, (_, i) => i % 2 === 0 ? 0x7e : 0x00),
    ],
    last: "excessive",
  },
  {
    name: "16000 size updates",
    blocks: [Uint8Array.from({ length: 16_000 }, () => 0x20)],
    last: "ok",
  },
  {
    name: "a Huffman string of the shortest codes",
    blocks: [bytesOf(0x00, raw("a"), 0xff, 0xe1, 0x7a, new Uint8Array(15_712).fill(0x00))],
    last: "compression", // the padding is not of ones
  },
];

for (const { name, blocks, last } of BOMBS) {
  Deno.test(`${name}: ends as ${last}, in bounded memory and time`, () => {
    const decoder = new Decoder();
    const list = new FieldList();
    const started = performance.now();
    const verdicts = blocks.map((block) => {
      list.reset();
      assert(list.append(block, 0, block.length));
      return decoder.decode(list);
    });
    assertEquals(verdicts.at(-1), last);
    assertLess(performance.now() - started, 10_000);
    const { maxBlock, maxListSize, maxFields } = list.limits;
    assertLessOrEqual(list.count, maxFields);
    assertLessOrEqual(memoryOf(list), 2 * (2.6 * maxBlock + maxListSize + 2048 + 26 * maxFields));
  });
}

Deno.test("a list does not keep the memory of a large block", () => {
  const list = new FieldList();
  const idle = memoryOf(list);
  const block = encodePairs([["a", "x".repeat(12_000)]], true);
  list.append(block, 0, block.length);
  assertEquals(new Decoder().decode(list), "ok");
  assert(memoryOf(list) > 2 * idle);
  list.reset();
  assertEquals(memoryOf(list), idle);
});

Deno.test("the verdict and the fields do not depend on how a block is fragmented", () => {
  for (const { tableSize, blocks } of RFC7541_EXAMPLES) {
    const last = fromHex(blocks.at(-1)!.hex);
    for (let cut = 0; cut <= last.length; cut++) {
      const decoder = new Decoder(tableSize);
      for (const { hex } of blocks.slice(0, -1)) decodeBlock(fromHex(hex), decoder);
      const list = new FieldList();
      list.append(last, 0, cut);
      list.append(last, cut, last.length);
      assertEquals(decoder.decode(list), "ok");
      assertEquals(pairsOf(list), [...blocks.at(-1)!.fields]);
    }
  }
});

Deno.test("a block that is cut short never decodes to more than its whole fields", () => {
  for (const { hex, fields } of PEER_CONNECTIONS.map((blocks) => blocks[0]!)) {
    const block = fromHex(hex);
    for (let cut = 0; cut < block.length; cut++) {
      const result = decodeBlock(block.subarray(0, cut));
      assert(result.verdict === "ok" || result.verdict === "compression");
      assertEquals(result.fields, fields.slice(0, result.fields.length));
    }
  }
});

/** Whether all offsets of a list lie where they may. */
function assertInBounds(list: FieldList): void {
  for (let i = 0; i < list.count * 4; i += 2) {
    assert(list.offsets[i]! >= 0 && list.offsets[i]! <= list.offsets[i + 1]!);
    assertLessOrEqual(list.offsets[i + 1]!, list.textEnd);
  }
  for (let i = 0; i < list.count; i++) {
    assertLess(list.representations[i]!, list.representations[i + 1]!);
    assertLessOrEqual(list.representations[i + 1]!, list.blockEnd);
  }
}

Deno.test("random and mutated blocks never throw, and what they decode to stays in bounds", () => {
  const seeds = PEER_CONNECTIONS.flat().map(({ hex }) => fromHex(hex));
  const mutated = fc.tuple(
    fc.nat(seeds.length - 1),
    fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
  ).map(([index, changes]) => {
    const bytes = seeds[index]!.slice();
    for (const [at, value] of changes) bytes[at % bytes.length] = value;
    return bytes;
  });
  fc.assert(
    fc.property(
      fc.array(fc.oneof(mutated, fc.uint8Array({ maxLength: 60 })), { maxLength: 6 }),
      fc.constantFrom(0, 64, 4096),
      (blocks, tableSize) => {
        const decoder = new Decoder(tableSize);
        const list = new FieldList();
        for (const block of blocks) {
          list.reset();
          list.append(block, 0, block.length);
          const verdict = decoder.decode(list);
          assertInBounds(list);
          assertLessOrEqual(decoder.tableSize, tableSize);
          if (verdict !== "ok") break;
        }
      },
    ),
    { seed: SEED, numRuns: 3000 },
  );
});

Deno.test("bytes behind the block are not read", () => {
  const block = bytesOf(0x00, 3, "ab");
  for (const rest of ["c", "\x00", "\xff"]) {
    const list = listOf(block);
    list.bytes.fill(rest.charCodeAt(0), list.blockEnd);
    assertEquals(new Decoder().decode(list), "compression");
  }
});
