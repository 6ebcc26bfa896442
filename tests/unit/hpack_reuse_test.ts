/** A list that keeps what one block has in common with the block before says the same as a new one. */
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { Decoder } from "../../lib/http/h2/hpack/decoder.ts";
import { FieldFlag, type FieldLimits, FieldList } from "../../lib/http/h2/hpack/field_list.ts";
import { H2RequestHead } from "../../lib/http/h2/request_head.ts";
import { bytesOf, encodePairs, pairsOf } from "../support/hpack.ts";

const SEED = 7541;

/** Representations of which blocks are put together, so that many begin alike. */
const PARTS: readonly Uint8Array[] = [
  bytesOf(0x83),
  bytesOf(0x86),
  encodePairs([[":path", "/a/b?c"]]),
  encodePairs([[":path", "/other"]], true),
  encodePairs([[":authority", "a.example"]]),
  encodePairs([[":authority", "b.example:1"]], true),
  encodePairs([["te", "trailers"]]),
  encodePairs([["te", "gzip"]]),
  encodePairs([["content-length", "5"]]),
  encodePairs([["content-type", "application/grpc"]], true),
  encodePairs([["grpc-timeout", "1S"]]),
  encodePairs([["grpc-timeout", "1000m"]], true),
  encodePairs([["x-long", "v".repeat(300)]]),
  encodePairs([["x-longer", "w".repeat(700)]], true),
  encodePairs([["X-Bad", "b"]]),
  encodePairs([["x-bad", "b\n"]], true),
  bytesOf(0x40, encodePairs([["x-indexed", "one"]]).subarray(1)),
  bytesOf(0xbe),
  bytesOf(0x20),
  bytesOf(0xff),
];

/** Blocks as lists of parts; each keeps some of the one before. */
const blocks = fc.array(
  fc.tuple(
    fc.nat(8),
    fc.oneof(
      fc.array(fc.nat(PARTS.length - 1), { maxLength: 6 }),
      fc.array(fc.nat(12), { maxLength: 6 }),
    ),
  ),
  { minLength: 1, maxLength: 8 },
).map((steps) => {
  let before: number[] = [0, 1, 2, 4];
  return steps.map(([keep, parts]) => before = [...before.slice(0, keep), ...parts]);
});

const LIMITS: FieldLimits = { maxBlock: 4096, maxListSize: 1500, maxFields: 8 };

/** Puts a block into a list, cut in two. */
function fill(list: FieldList, block: Uint8Array, cut: number): boolean {
  list.reset();
  const middle = cut % (block.length + 1);
  return list.append(block, 0, middle) && list.append(block, middle, block.length);
}

Deno.test("fields, flags and verdicts are those of a list that was not used before", () => {
  fc.assert(
    fc.property(blocks, fc.array(fc.nat(), { minLength: 8, maxLength: 8 }), (all, cuts) => {
      const reused = new FieldList(LIMITS);
      const decoders = [new Decoder(64), new Decoder(64)] as const;
      for (const [index, parts] of all.entries()) {
        const block = bytesOf(...parts.map((part) => PARTS[part]!));
        const fresh = new FieldList(LIMITS);
        const fits = fill(fresh, block, cuts[index]!);
        assertEquals(fill(reused, block, cuts[index]! + 1), fits);
        if (!fits) return;
        const verdict = decoders[0].decode(fresh);
        assertEquals(decoders[1].decode(reused), verdict);
        assertEquals(pairsOf(reused), pairsOf(fresh));
        assertEquals(
          [reused.allFlags, reused.blockEnd, reused.size],
          [fresh.allFlags, fresh.blockEnd, fresh.size],
        );
        const { count } = fresh;
        assertEquals(reused.flags.slice(0, count), fresh.flags.slice(0, count));
        assertEquals(reused.names.slice(0, count), fresh.names.slice(0, count));
        if (count > 0) {
          assertEquals(
            reused.representations.slice(0, count + 1),
            fresh.representations.slice(0, count + 1),
          );
        }
        if (verdict === "compression" || verdict === "excessive") return;
      }
    }),
    { seed: SEED, numRuns: 2000 },
  );
});

/** All that a request head says. */
function describe(head: H2RequestHead) {
  const { method, path, query, host, authority, grpc, secure, trailers, contentLength } = head;
  const { pseudoCount, hasAuthority } = head;
  const fields = ["te", "host", "grpc-timeout", "x-long"].map((name) => head.header(name));
  return {
    method,
    path,
    query,
    host,
    authority,
    grpc,
    secure,
    trailers,
    contentLength,
    pseudoCount,
    hasAuthority,
    fields,
  };
}

Deno.test("a request head that is used again says the same as a new one", () => {
  fc.assert(
    fc.property(blocks, fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }), (all, ends) => {
      const reused = new H2RequestHead(LIMITS);
      for (const [index, parts] of [[0, 1, 2, 4], ...all].entries()) {
        const block = bytesOf(...parts.map((part) => PARTS[part]!));
        const fresh = new H2RequestHead(LIMITS);
        if (!fill(fresh.fields, block, 0) || !fill(reused.fields, block, 0)) return;
        const verdict = new Decoder().decode(fresh.fields);
        assertEquals(new Decoder().decode(reused.fields), verdict);
        if (verdict !== "ok") continue;
        const endStream = ends[index % ends.length]!;
        const judged = fresh.interpret(endStream);
        assertEquals(reused.interpret(endStream), judged);
        if (judged === "ok") assertEquals(describe(reused), describe(fresh));
        else assertEquals([reused.error, reused.detail], [fresh.error, fresh.detail]);
      }
    }),
    { seed: SEED, numRuns: 2000 },
  );
});

Deno.test("the generation stays only for the same block once more, if it carries no state", () => {
  const list = new FieldList();
  const decoder = new Decoder();
  const decode = (block: Uint8Array) => {
    fill(list, block, 3);
    assertEquals(decoder.decode(list), "ok");
    return list.generation;
  };
  const plain = encodePairs([["te", "trailers"], ["x-a", "1"]], true);
  const first = decode(plain);
  assertEquals(decode(plain), first);
  const longer = decode(bytesOf(plain, 0x82));
  assertEquals([longer === first, list.count], [false, 3]);
  const shorter = decode(plain);
  assertEquals([shorter === longer, list.count], [false, 2]);
  const indexed = bytesOf(plain, 0x40, 1, "a", 1, "b");
  const withState = decode(indexed);
  assertEquals(decode(indexed) === withState, false);
  assertEquals([list.allFlags, decoder.tableCount], [FieldFlag.Incremental, 2]);
  const update = bytesOf(0x20, plain);
  const withUpdate = decode(update);
  assertEquals([decode(update) === withUpdate, decoder.tableCount], [false, 0]);
});

Deno.test("fields that are kept do not excuse a missing size update", () => {
  const list = new FieldList();
  const decoder = new Decoder();
  const plain = encodePairs([["te", "trailers"]]);
  const decode = (block: Uint8Array) => {
    fill(list, block, 0);
    return decoder.decode(list);
  };
  assertEquals(decode(bytesOf(0x40, 1, "a", 1, "b")), "ok");
  assertEquals(decode(plain), "ok");
  decoder.limitTable(0);
  assertEquals(decode(plain), "compression");
});
