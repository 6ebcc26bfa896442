/**
 * What the HTTP/2 codecs cost for a gRPC request of ten fields, as the clients of Go and nghttp2 send it.
 *
 * A block that carries no state is decoded, judged and copied; one that does is encoded anew. Blocks come in
 * three ways: `new`, each unlike the one before from the first field on; `like`, with another timeout and
 * trace than the one before, as deadlines and tracing make them; `same`, the same again.
 *
 * The group `encode` shows why the encoder does not use Huffman coding: it takes 2.5 times as long to save
 * a fifth of the bytes.
 */
import { decodeLatin1, latin1 } from "../../lib/http/h1/chars.ts";
import { ByteWriter } from "../../lib/http/h1/writer.ts";
import { FrameReader } from "../../lib/http/h2/frame_reader.ts";
import {
  beginHeaders,
  encodeDataHeader,
  encodeSettings,
  encodeWindowUpdate,
  endHeaders,
} from "../../lib/http/h2/frame_writer.ts";
import { Decoder } from "../../lib/http/h2/hpack/decoder.ts";
import { encodeName, Encoder } from "../../lib/http/h2/hpack/encoder.ts";
import { FieldList } from "../../lib/http/h2/hpack/field_list.ts";
import { encodeHuffman, HuffmanDecoder, huffmanLength } from "../../lib/http/h2/hpack/huffman.ts";
import { nameFlags } from "../../lib/http/h2/hpack/names.ts";
import { H2RequestHead } from "../../lib/http/h2/request_head.ts";
import { TextCache } from "../../lib/http/h2/text_cache.ts";
import { bytesOf, encodePairs, listOf, type Pair } from "../support/hpack.ts";

const FIELDS: readonly Pair[] = [
  [":path", "/helloworld.Greeter/SayHello"],
  [":authority", "greeter.default.svc:50051"],
  ["content-type", "application/grpc"],
  ["user-agent", "grpc-go/1.66.0"],
  ["te", "trailers"],
  ["grpc-accept-encoding", "gzip"],
  ["grpc-timeout", "9999m"],
  ["traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
];
/** The same with another timeout and trace, which come last. */
const LATER: readonly Pair[] = [
  ...FIELDS.slice(0, -2),
  ["grpc-timeout", "9998m"],
  ["traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4737-00f067aa0ba902b8-01"],
];
const POST = 0x83;
const PUT_AS_LITERAL = bytesOf(0x02, 3, "PUT");
const SCHEME = 0x86;

type Way = "new" | "like" | "same";

/** Two blocks that come in turns. */
function blocksOf(way: Way, huffman: boolean): readonly [Uint8Array, Uint8Array] {
  const block = bytesOf(POST, SCHEME, encodePairs(FIELDS, huffman));
  if (way === "same") return [block, block];
  if (way === "like") return [block, bytesOf(POST, SCHEME, encodePairs(LATER, huffman))];
  return [block, bytesOf(PUT_AS_LITERAL, SCHEME, encodePairs(FIELDS, huffman))];
}

/** All fields in the dynamic table. */
const STATEFUL = bytesOf(POST, SCHEME, Uint8Array.from(FIELDS, (_, i) => 0xbe + i));

function statefulDecoder(): Decoder {
  const decoder = new Decoder();
  const literals = FIELDS.toReversed().map(([name, value]) =>
    bytesOf(0x40, name.length, name, value.length, value)
  );
  decoder.decode(listOf(bytesOf(...literals)));
  return decoder;
}

function statelessDecoder(): Decoder {
  const decoder = new Decoder();
  decoder.limitTable(0);
  return decoder;
}

interface Case {
  readonly name: string;
  readonly blocks: readonly [Uint8Array, Uint8Array];
  readonly decoder: Decoder;
}

const CASES: readonly Case[] = [
  ...(["new", "like", "same"] as const).flatMap((way) =>
    [false, true].map((huffman): Case => {
      const blocks = blocksOf(way, huffman);
      const coding = huffman ? "Huffman" : "literal";
      return {
        name: `${way}, ${coding}, ${blocks[0].length} bytes`,
        blocks,
        decoder: statelessDecoder(),
      };
    })
  ),
  { name: "dynamic table", blocks: [STATEFUL, STATEFUL], decoder: statefulDecoder() },
];

function check(condition: boolean): void {
  if (!condition) throw new Error("the benchmark does not measure what it says");
}

for (const { name, blocks, decoder } of CASES) {
  const list = new FieldList();
  let turn = 0;
  Deno.bench(`decode: ${name}`, { group: "decode" }, () => {
    const block = blocks[turn ^= 1]!;
    list.reset();
    list.append(block, 0, block.length);
    check(decoder.decode(list) === "ok");
  });
}

for (const { name, blocks, decoder } of CASES) {
  const head = new H2RequestHead();
  let turn = 0;
  Deno.bench(`decode, judge: ${name}`, { group: "judge" }, () => {
    const block = blocks[turn ^= 1]!;
    head.fields.reset();
    head.fields.append(block, 0, block.length);
    check(decoder.decode(head.fields) === "ok" && head.interpret(false) === "ok");
  });
}

const X_FORWARDED_FOR = encodeName("x-forwarded-for");
const FILTER = { skip: nameFlags("x-forwarded-for") };

for (const { name, blocks, decoder } of CASES) {
  const head = new H2RequestHead();
  let turn = 0;
  const encoder = new Encoder();
  const out = new ByteWriter(new Uint8Array(16_384));
  Deno.bench(`decode, judge, route, forward: ${name}`, { group: "forward" }, () => {
    const block = blocks[turn ^= 1]!;
    head.fields.reset();
    head.fields.append(block, 0, block.length);
    check(decoder.decode(head.fields) === "ok" && head.interpret(false) === "ok");
    check(head.path.length === 28 && head.host.length === 19 && head.grpc);
    out.at = 0;
    const at = beginHeaders(out);
    encoder.begin(out);
    encoder.copy(out, head.fields, FILTER);
    encoder.field(out, X_FORWARDED_FOR, "192.0.2.1");
    endHeaders(out, at, { streamId: 1, endStream: false, maxFrameSize: 16_384 });
  });
}

for (const huffman of [false, true]) {
  const encoder = new Encoder({ huffman });
  const list = listOf(STATEFUL);
  check(statefulDecoder().decode(list) === "ok");
  const out = new ByteWriter(new Uint8Array(16_384));
  encoder.copy(out, list, FILTER);
  Deno.bench(`encode: Huffman ${huffman}, ${out.at} bytes`, { group: "encode" }, () => {
    out.at = 0;
    encoder.copy(out, list, FILTER);
  });
}

const TEXT = latin1(FIELDS.map(([, value]) => value).join(" "));
const CODED = new Uint8Array(huffmanLength(TEXT, 0, TEXT.length) + 2 * TEXT.length);
const CODED_LENGTH = encodeHuffman(TEXT, { start: 0, end: TEXT.length }, CODED, 0);
const huffman = new HuffmanDecoder();
Deno.bench(`Huffman: decode ${CODED_LENGTH} bytes to ${TEXT.length}`, { group: "Huffman" }, () => {
  check(huffman.decode(CODED, 0, CODED_LENGTH, CODED_LENGTH) === CODED_LENGTH + TEXT.length);
});
Deno.bench(`Huffman: encode ${TEXT.length} bytes`, { group: "Huffman" }, () => {
  check(encodeHuffman(TEXT, { start: 0, end: TEXT.length }, CODED, 0) === CODED_LENGTH);
});

const PATH = latin1(FIELDS[0]![1]);
const texts = new TextCache();
const routes = new Map([[FIELDS[0]![1], true]]);
Deno.bench("text: make a string and look it up", { group: "text" }, () => {
  check(routes.has(decodeLatin1(PATH, 0, PATH.length)));
});
Deno.bench("text: find a string and look it up", { group: "text" }, () => {
  check(routes.has(texts.get(PATH, 0, PATH.length)));
});

const frames = new ByteWriter(new Uint8Array(4096));
encodeSettings(frames, []);
const behindSettings = frames.at;
const headersAt = beginHeaders(frames);
frames.bytes(blocksOf("same", true)[0]);
endHeaders(frames, headersAt, { streamId: 1, endStream: false, maxFrameSize: 16_384 });
encodeDataHeader(frames, 1, 100, true);
frames.bytes(new Uint8Array(100));
encodeWindowUpdate(frames, 0, 100);
const reader = new FrameReader();
reader.next(frames.buffer, 0, behindSettings);
Deno.bench("frames: read HEADERS, DATA and WINDOW_UPDATE", { group: "frames" }, () => {
  let at = behindSettings;
  while (at < frames.at) at = reader.next(frames.buffer, at, frames.at);
});
