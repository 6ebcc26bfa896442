/**
 * Field blocks in hexadecimal and as pairs, for tests.
 *
 * @module
 */
import { Decoder, type DecodeVerdict } from "../../lib/http/h2/hpack/decoder.ts";
import { encodeName, Encoder } from "../../lib/http/h2/hpack/encoder.ts";
import { type FieldLimits, FieldList } from "../../lib/http/h2/hpack/field_list.ts";
import { latin1 } from "../../lib/http/h1/chars.ts";
import { ByteWriter } from "../../lib/http/h1/writer.ts";

/** A field. */
export type Pair = readonly [name: string, value: string];

/** Limits that no test meets by accident. */
export const WIDE_LIMITS: FieldLimits = {
  maxBlock: 1 << 20,
  maxListSize: 1 << 20,
  maxFields: 10_000,
};

/** The bytes written as hexadecimal digits; white space does not count. */
export function fromHex(text: string): Uint8Array {
  const digits = text.replace(/\s+/g, "");
  return Uint8Array.from(
    { length: digits.length / 2 },
    (_, i) => parseInt(digits.substr(i * 2, 2), 16),
  );
}

/** The hexadecimal digits of bytes. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The bytes of all parts, texts taken as ISO 8859-1. */
export function bytesOf(...parts: (Uint8Array | string | number)[]): Uint8Array {
  return Uint8Array.from(
    parts.flatMap((part) =>
      typeof part === "number" ? [part] : [...(typeof part === "string" ? latin1(part) : part)]
    ),
  );
}

/** A list that holds `block`, not decoded yet. */
export function listOf(block: Uint8Array, limits: FieldLimits = WIDE_LIMITS): FieldList {
  const list = new FieldList(limits);
  if (!list.append(block, 0, block.length)) throw new Error("the block is above the limit");
  return list;
}

/** The fields of a list. */
export function pairsOf(list: FieldList): Pair[] {
  return Array.from({ length: list.count }, (_, i) => [list.name(i), list.value(i)] as const);
}

/** Decodes a block with a given decoder. */
export function decodeBlock(
  block: Uint8Array,
  decoder: Decoder = new Decoder(),
  limits: FieldLimits = WIDE_LIMITS,
): { verdict: DecodeVerdict; fields: Pair[]; list: FieldList } {
  const list = listOf(block, limits);
  const verdict = decoder.decode(list);
  return { verdict, fields: pairsOf(list), list };
}

/** What `write` writes. */
export function written(write: (out: ByteWriter) => void): Uint8Array {
  const out = new ByteWriter(new Uint8Array(16));
  write(out);
  return out.written.slice();
}

/** A block of literals that carry no state. */
export function encodePairs(fields: readonly Pair[], huffman = false): Uint8Array {
  const encoder = new Encoder({ huffman });
  return written((out) => {
    for (const [name, value] of fields) encoder.field(out, encodeName(name), value);
  });
}
