/**
 * The Huffman code of HPACK: RFC 7541, section 5.2 and appendix B.
 *
 * @module
 */
import { BYTE_CLASS } from "./byte_class.ts";

/**
 * The bits of the code of each byte, and of EOS at the end. The code is canonical: codes of one
 * length follow each other in the order of the symbols, so the lengths give the codes.
 */
// deno-fmt-ignore
const LENGTHS: Uint8Array = Uint8Array.of(
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
  28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
  5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
  6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
  24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
  21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
  26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
);
const EOS = 256;

/** The codes, right-aligned. */
const CODES: Int32Array = makeCodes();

function makeCodes(): Int32Array {
  const codes = new Int32Array(LENGTHS.length);
  const order = [...codes.keys()].sort((a, b) => LENGTHS[a]! - LENGTHS[b]! || a - b);
  let code = 0;
  let length = 0;
  for (const symbol of order) {
    code <<= LENGTHS[symbol]! - length;
    length = LENGTHS[symbol]!;
    codes[symbol] = code++;
  }
  return codes;
}

// The decoder takes a byte of input at a time. A state is an inner node of the code's tree: the bits
// read of an unfinished symbol. One entry for each state and byte says all that follows from it:
//   bits 0-7 and 16-23  the symbols that the byte completes; no code is shorter than five bits, so there
//                       are at most two
//   bits 8-15           the next state, where the index of the next entry has it
//   bits 24-25          how many symbols
//   bits 26-27          their `BYTE_CLASS`
//   bit 28              EOS was read
const SECOND_SHIFT = 16;
const STATE_SHIFT = 8;
const STATE_MASK = 0xff << STATE_SHIFT;
const COUNT_SHIFT = 24;
const CLASS_SHIFT = 26;
const FAILED = 1 << 28;

/** What {@linkcode HuffmanDecoder.decode} answers when the string is not a valid encoding. */
export const BAD_HUFFMAN: number = -1;
/** Bytes that {@linkcode HuffmanDecoder.decode} may write behind what it returns. */
export const HUFFMAN_SLACK = 2;

/** The most bytes that `length` bytes can decode to. */
export function maxHuffmanOutput(length: number): number {
  return Math.ceil(length * 8 / 5);
}

interface Tables {
  /** Entries as above, 256 for each state. */
  readonly steps: Int32Array;
  /** 1 for the states in which a string may end. */
  readonly accepting: Uint8Array;
}

let tables: Tables | undefined;

function makeTables(): Tables {
  const states = LENGTHS.length - 1;
  // Two children for each inner node: the number of another one, or ~symbol.
  const children = new Int16Array(states * 2);
  let nodes = 1;
  for (const [symbol, length] of LENGTHS.entries()) {
    let node = 0;
    for (let bit = length - 1; bit > 0; bit--) {
      const edge = node * 2 + ((CODES[symbol]! >> bit) & 1);
      if (children[edge] === 0) children[edge] = nodes++;
      node = children[edge]!;
    }
    children[node * 2 + (CODES[symbol]! & 1)] = ~symbol;
  }
  // RFC 7541, section 5.2: "A padding strictly longer than 7 bits MUST be treated as a decoding error.
  // A padding not corresponding to the most significant bits of the code for the EOS symbol MUST be
  // treated as a decoding error." EOS is all ones.
  const accepting = new Uint8Array(states);
  for (let node = 0, depth = 0; depth <= 7; depth++) {
    accepting[node] = 1;
    node = children[node * 2 + 1]!;
  }
  const steps = new Int32Array(states * 256);
  for (let i = 0; i < steps.length; i++) steps[i] = makeStep(children, i >> 8, i & 0xff);
  return { steps, accepting };
}

function makeStep(children: Int16Array, state: number, byte: number): number {
  let node = state;
  let symbols = 0;
  let count = 0;
  let classes = 0;
  for (let bit = 7; bit >= 0; bit--) {
    node = children[node * 2 + ((byte >> bit) & 1)]!;
    if (node >= 0) continue;
    const symbol = ~node;
    if (symbol === EOS) return FAILED;
    symbols |= symbol << (count++ * SECOND_SHIFT);
    classes |= BYTE_CLASS[symbol]!;
    node = 0;
  }
  return symbols | node << STATE_SHIFT | count << COUNT_SHIFT | classes << CLASS_SHIFT;
}

/** Decodes strings. The tables (256 KiB, some 5 ms) are made when the first decoder is. */
export class HuffmanDecoder {
  readonly #steps: Int32Array;
  readonly #accepting: Uint8Array;
  /** What the bytes of the last string may not be part of, all together: see `BYTE_CLASS`. */
  classes = 0;

  /** Makes a decoder. */
  constructor() {
    tables ??= makeTables();
    this.#steps = tables.steps;
    this.#accepting = tables.accepting;
  }

  /**
   * Decodes `bytes[start..end)` to `bytes[to..)`, which must lie behind it and have room for
   * {@linkcode maxHuffmanOutput} and {@linkcode HUFFMAN_SLACK} bytes.
   *
   * @returns The index behind the decoded string, or {@linkcode BAD_HUFFMAN}.
   */
  decode(bytes: Uint8Array, start: number, end: number, to: number): number {
    const steps = this.#steps;
    let state = 0;
    let seen = 0;
    let out = to;
    for (let i = start; i < end; i++) {
      const step = steps[state | bytes[i]!]!;
      bytes[out] = step;
      bytes[out + 1] = step >> SECOND_SHIFT;
      out += (step >> COUNT_SHIFT) & 3;
      state = step & STATE_MASK;
      seen |= step;
    }
    this.classes = (seen >> CLASS_SHIFT) & 3;
    return seen >= FAILED || this.#accepting[state >> STATE_SHIFT] === 0 ? BAD_HUFFMAN : out;
  }
}

/** How many bytes `bytes[start..end)` would take encoded. */
export function huffmanLength(bytes: Uint8Array, start: number, end: number): number {
  let bits = 0;
  for (let i = start; i < end; i++) bits += LENGTHS[bytes[i]!]!;
  return (bits + 7) >> 3;
}

/**
 * Encodes `from[start..end)` to `to[at..)`, which must have room for {@linkcode huffmanLength} bytes.
 *
 * @returns The index behind the encoded string.
 */
export function encodeHuffman(
  from: Uint8Array,
  { start, end }: { readonly start: number; readonly end: number },
  to: Uint8Array,
  at: number,
): number {
  // Up to seven bits wait for the next symbol, whose code has up to 28: both fit into 35 bits, so
  // a long code is fed in two parts.
  let pending = 0;
  let count = 0;
  for (let i = start; i < end; i++) {
    const code = CODES[from[i]!]!;
    let length = LENGTHS[from[i]!]!;
    if (length > 16) {
      length -= 16;
      pending = pending << length | code >> 16;
      count += length;
      while (count >= 8) to[at++] = pending >> (count -= 8);
      length = 16;
    }
    pending = pending << length | code & ((1 << length) - 1);
    count += length;
    while (count >= 8) to[at++] = pending >> (count -= 8);
  }
  if (count > 0) to[at++] = pending << (8 - count) | 0xff >> count;
  return at;
}
