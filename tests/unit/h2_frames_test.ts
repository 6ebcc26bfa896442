/** Frames: every rule of RFC 9113, sections 4 and 6, that one frame can break by itself. */
import { assert, assertEquals, assertGreater } from "@std/assert";
import fc from "fast-check";
import { codeName, H2Code } from "../../lib/http/h2/errors.ts";
import { FRAME_ERROR, FrameReader, NEED_MORE } from "../../lib/http/h2/frame_reader.ts";
import {
  beginHeaders,
  encodeDataHeader,
  encodeGoaway,
  encodePing,
  encodePingAck,
  encodeRstStream,
  encodeSettings,
  encodeSettingsAck,
  encodeWindowUpdate,
  endHeaders,
} from "../../lib/http/h2/frame_writer.ts";
import { Flag, frameName, FrameType, MIN_MAX_FRAME_SIZE } from "../../lib/http/h2/frames.ts";
import { CLIENT_PREFACE, matchPreface } from "../../lib/http/h2/preface.ts";
import { bytesOf, toHex, written } from "../support/hpack.ts";

const { Data, Headers, Priority, RstStream, Settings, PushPromise, Ping, Goaway } = FrameType;
const { WindowUpdate, Continuation } = FrameType;
const { Padded, EndStream, EndHeaders, Ack } = Flag;

/** A frame from its parts; `stream` may have the reserved bit set. */
function frame(
  type: number,
  flags: number,
  stream: number,
  ...payload: (Uint8Array | string | number)[]
) {
  const body = bytesOf(...payload);
  return bytesOf(
    body.length >> 16,
    (body.length >> 8) & 0xff,
    body.length & 0xff,
    type,
    flags,
    (stream >>> 24) & 0xff,
    (stream >> 16) & 0xff,
    (stream >> 8) & 0xff,
    stream & 0xff,
    body,
  );
}

const SETTINGS = frame(Settings, 0, 0);
const zeros = (count: number) => new Uint8Array(count);

/** What a reader says of one frame; DATA pieces are put together. */
interface Seen {
  type: number;
  flags: number;
  stream: number;
  length: number;
  content: string;
  flow: number;
  pieces: number;
  endStream: boolean;
}

/** All that a reader says of bytes that arrive in chunks ending at the given indexes. */
function readAll(
  bytes: Uint8Array,
  ends: readonly number[] = [bytes.length],
  reader: FrameReader = new FrameReader(),
): { frames: Seen[]; error: string; consumed: number } {
  const frames: Seen[] = [];
  let at = 0;
  for (const end of ends) {
    for (;;) {
      const next = reader.next(bytes, at, end);
      if (next === FRAME_ERROR) return { frames, error: codeName(reader.error.code), consumed: at };
      if (next === NEED_MORE) {
        assertGreater(reader.needed, end - at);
        break;
      }
      assert(next > at && next <= end);
      assert(reader.start <= reader.end && reader.end <= next);
      const content = toHex(bytes.subarray(reader.start, reader.end));
      if (reader.first) {
        frames.push({
          type: reader.type,
          flags: reader.flags,
          stream: reader.streamId,
          length: reader.length,
          content: "",
          flow: 0,
          pieces: 0,
          endStream: false,
        });
      }
      const seen = frames.at(-1)!;
      assert(seen.pieces === 0 || reader.type === Data);
      seen.content += content;
      seen.flow += reader.type === Data ? reader.flow : 0;
      seen.pieces++;
      seen.endStream = reader.endStream;
      if (reader.type === Data && reader.last) {
        assertEquals(seen.content.length / 2, reader.dataLength);
      }
      at = next;
    }
  }
  return { frames, error: "", consumed: at };
}

interface Verdict {
  readonly name: string;
  readonly frames: readonly Uint8Array[];
  /** The name of the code of the connection error, or nothing. */
  readonly error: string;
}

const NONE = "";
const FRAME_SIZE = "FRAME_SIZE_ERROR";
const PROTOCOL = "PROTOCOL_ERROR";

/** One row for each length, flag and stream rule of each frame type. */
const VERDICTS: readonly Verdict[] = [
  // 6.1
  { name: "DATA", frames: [frame(Data, 0, 1, "abc")], error: NONE },
  { name: "empty DATA", frames: [frame(Data, EndStream, 1)], error: NONE },
  { name: "DATA on stream 0", frames: [frame(Data, 0, 0, "abc")], error: PROTOCOL },
  {
    name: "DATA without room for the pad length",
    frames: [frame(Data, Padded, 1)],
    error: FRAME_SIZE,
  },
  { name: "DATA of padding only", frames: [frame(Data, Padded, 1, 2, zeros(2))], error: NONE },
  {
    name: "DATA with padding as long as the payload",
    frames: [frame(Data, Padded, 1, 3, "ab")],
    error: PROTOCOL,
  },
  {
    name: "DATA with longer padding",
    frames: [frame(Data, Padded, 1, 255, "ab")],
    error: PROTOCOL,
  },
  // 6.2
  { name: "HEADERS", frames: [frame(Headers, EndHeaders, 1, 0x82)], error: NONE },
  { name: "HEADERS on stream 0", frames: [frame(Headers, EndHeaders, 0, 0x82)], error: PROTOCOL },
  {
    name: "HEADERS without room for the pad length",
    frames: [frame(Headers, EndHeaders | Padded, 1)],
    error: FRAME_SIZE,
  },
  {
    name: "HEADERS with padding to the end",
    frames: [frame(Headers, EndHeaders | Padded, 1, 2, zeros(2))],
    error: NONE,
  },
  {
    name: "HEADERS with longer padding",
    frames: [frame(Headers, EndHeaders | Padded, 1, 3, zeros(2))],
    error: PROTOCOL,
  },
  {
    name: "HEADERS with priority",
    frames: [frame(Headers, EndHeaders | Flag.Priority, 1, zeros(5), 0x82)],
    error: NONE,
  },
  {
    name: "HEADERS that depends on itself",
    frames: [frame(Headers, EndHeaders | Flag.Priority, 1, 0, 0, 0, 1, 0, 0x82)],
    error: NONE,
  },
  {
    name: "HEADERS without room for priority",
    frames: [frame(Headers, EndHeaders | Flag.Priority, 1, zeros(4))],
    error: FRAME_SIZE,
  },
  {
    name: "HEADERS with padding into priority",
    frames: [frame(Headers, EndHeaders | Padded | Flag.Priority, 1, 1, zeros(5))],
    error: PROTOCOL,
  },
  // 6.3
  { name: "PRIORITY", frames: [frame(Priority, 0, 1, zeros(5))], error: NONE },
  {
    name: "PRIORITY that depends on itself",
    frames: [frame(Priority, 0, 1, 0, 0, 0, 1, 0)],
    error: NONE,
  },
  { name: "PRIORITY on stream 0", frames: [frame(Priority, 0, 0, zeros(5))], error: PROTOCOL },
  { name: "E9: PRIORITY of 4 bytes", frames: [frame(Priority, 0, 1, zeros(4))], error: FRAME_SIZE },
  { name: "PRIORITY of 6 bytes", frames: [frame(Priority, 0, 1, zeros(6))], error: FRAME_SIZE },
  // 6.4
  { name: "RST_STREAM", frames: [frame(RstStream, 0, 1, zeros(4))], error: NONE },
  { name: "RST_STREAM on stream 0", frames: [frame(RstStream, 0, 0, zeros(4))], error: PROTOCOL },
  { name: "RST_STREAM of 3 bytes", frames: [frame(RstStream, 0, 1, zeros(3))], error: FRAME_SIZE },
  { name: "RST_STREAM of 5 bytes", frames: [frame(RstStream, 0, 1, zeros(5))], error: FRAME_SIZE },
  // 6.5
  { name: "SETTINGS", frames: [frame(Settings, 0, 0, zeros(12))], error: NONE },
  { name: "the acknowledgement of SETTINGS", frames: [frame(Settings, Ack, 0)], error: NONE },
  {
    name: "E7: the acknowledgement of SETTINGS with a payload",
    frames: [frame(Settings, Ack, 0, zeros(6))],
    error: FRAME_SIZE,
  },
  { name: "E7: SETTINGS on a stream", frames: [frame(Settings, 0, 1)], error: PROTOCOL },
  { name: "E7: SETTINGS of 5 bytes", frames: [frame(Settings, 0, 0, zeros(5))], error: FRAME_SIZE },
  // 6.6
  {
    name: "E12: PUSH_PROMISE",
    frames: [frame(PushPromise, EndHeaders, 1, 0, 0, 0, 2, 0x82)],
    error: PROTOCOL,
  },
  {
    name: "PUSH_PROMISE on stream 0",
    frames: [frame(PushPromise, EndHeaders, 0, 0, 0, 0, 2)],
    error: PROTOCOL,
  },
  // 6.7
  { name: "PING", frames: [frame(Ping, 0, 0, zeros(8))], error: NONE },
  { name: "the acknowledgement of PING", frames: [frame(Ping, Ack, 0, zeros(8))], error: NONE },
  { name: "PING on a stream", frames: [frame(Ping, 0, 1, zeros(8))], error: PROTOCOL },
  { name: "E9: PING of 7 bytes", frames: [frame(Ping, 0, 0, zeros(7))], error: FRAME_SIZE },
  { name: "PING of 9 bytes", frames: [frame(Ping, 0, 0, zeros(9))], error: FRAME_SIZE },
  // 6.8
  { name: "GOAWAY", frames: [frame(Goaway, 0, 0, zeros(8), "debug")], error: NONE },
  { name: "GOAWAY on a stream", frames: [frame(Goaway, 0, 1, zeros(8))], error: PROTOCOL },
  { name: "GOAWAY of 7 bytes", frames: [frame(Goaway, 0, 0, zeros(7))], error: FRAME_SIZE },
  // 6.9
  {
    name: "WINDOW_UPDATE of the connection",
    frames: [frame(WindowUpdate, 0, 0, 0, 0, 0, 1)],
    error: NONE,
  },
  {
    name: "WINDOW_UPDATE of a stream",
    frames: [frame(WindowUpdate, 0, 1, 0, 0, 0, 1)],
    error: NONE,
  },
  {
    name: "E5: WINDOW_UPDATE of the connection by 0",
    frames: [frame(WindowUpdate, 0, 0, zeros(4))],
    error: PROTOCOL,
  },
  {
    name: "E5: WINDOW_UPDATE of a stream by 0",
    frames: [frame(WindowUpdate, 0, 1, zeros(4))],
    error: PROTOCOL,
  },
  {
    name: "WINDOW_UPDATE by 0 with the reserved bit",
    frames: [frame(WindowUpdate, 0, 1, 0x80, 0, 0, 0)],
    error: PROTOCOL,
  },
  {
    name: "WINDOW_UPDATE of 3 bytes",
    frames: [frame(WindowUpdate, 0, 1, zeros(3))],
    error: FRAME_SIZE,
  },
  {
    name: "WINDOW_UPDATE of 5 bytes",
    frames: [frame(WindowUpdate, 0, 1, zeros(5))],
    error: FRAME_SIZE,
  },
  // 6.10 and 4.3
  {
    name: "CONTINUATION behind HEADERS",
    frames: [
      frame(Headers, 0, 1),
      frame(Continuation, 0, 1),
      frame(Continuation, EndHeaders, 1),
      frame(Ping, 0, 0, zeros(8)),
    ],
    error: NONE,
  },
  {
    name: "E10: CONTINUATION alone",
    frames: [frame(Continuation, EndHeaders, 1)],
    error: PROTOCOL,
  },
  {
    name: "CONTINUATION on stream 0",
    frames: [frame(Continuation, EndHeaders, 0)],
    error: PROTOCOL,
  },
  {
    name: "CONTINUATION behind the end of a field block",
    frames: [frame(Headers, EndHeaders, 1), frame(Continuation, EndHeaders, 1)],
    error: PROTOCOL,
  },
  {
    name: "CONTINUATION of another stream",
    frames: [frame(Headers, 0, 1), frame(Continuation, EndHeaders, 3)],
    error: PROTOCOL,
  },
  {
    name: "E10: DATA within a field block",
    frames: [frame(Headers, 0, 1), frame(Data, 0, 1, "a")],
    error: PROTOCOL,
  },
  {
    name: "HEADERS within a field block",
    frames: [frame(Headers, 0, 1), frame(Headers, EndHeaders, 1)],
    error: PROTOCOL,
  },
  {
    name: "PING within a field block",
    frames: [frame(Headers, 0, 1), frame(Ping, 0, 0, zeros(8))],
    error: PROTOCOL,
  },
  {
    name: "an unknown frame within a field block",
    frames: [frame(Headers, 0, 1), frame(0x20, 0, 1)],
    error: PROTOCOL,
  },
  // 4.1, 4.2, 5.5
  {
    name: "E13: an unknown frame",
    frames: [frame(0xff, 0xff, 0, "abc"), frame(0xa, 0, 7)],
    error: NONE,
  },
  { name: "a frame of 16384 bytes", frames: [frame(Data, 0, 1, zeros(16_384))], error: NONE },
  {
    name: "E9: a frame of 16385 bytes",
    frames: [frame(Data, 0, 1, zeros(16_385))],
    error: FRAME_SIZE,
  },
  {
    name: "an unknown frame of 16385 bytes",
    frames: [frame(0xff, 0, 1, zeros(16_385))],
    error: FRAME_SIZE,
  },
  {
    name: "flags without a meaning",
    frames: [
      frame(Data, 0xf6, 1, "a"),
      frame(Headers, 0xd7 & ~Padded, 1),
      frame(Ping, 0xfe, 0, zeros(8)),
    ],
    error: NONE,
  },
];

for (const { name, frames, error } of VERDICTS) {
  Deno.test(`${name} is ${error === NONE ? "no error" : `a connection error, ${error}`}`, () => {
    const bytes = bytesOf(SETTINGS, ...frames);
    const whole = readAll(bytes);
    assertEquals(whole.error, error);
    if (error === NONE) assertEquals(whole.consumed, bytes.length);
    // The verdict must not depend on how the bytes arrive.
    if (bytes.length > 1000) return;
    const single = readAll(bytes, Array.from(bytes, (_, i) => i + 1));
    assertEquals(single.error, error);
    assertEquals(
      single.frames.map((seen) => ({ ...seen, pieces: 1 })),
      whole.frames,
    );
  });
}

Deno.test("the first frame must be SETTINGS and no acknowledgement", () => {
  for (
    const first of [
      frame(Settings, Ack, 0),
      frame(Ping, 0, 0, zeros(8)),
      frame(Data, 0, 1),
      frame(0xff, 0, 0),
    ]
  ) {
    assertEquals(readAll(first).error, PROTOCOL);
  }
  assertEquals(readAll(SETTINGS).error, NONE);
});

Deno.test("the reserved bit of a stream identifier is ignored", () => {
  const { frames, error } = readAll(bytesOf(SETTINGS, frame(Data, 0, 0x80000001, "a")));
  assertEquals([error, frames[1]!.stream], [NONE, 1]);
  assertEquals(readAll(bytesOf(SETTINGS, frame(Data, 0, 0x80000000, "a"))).error, PROTOCOL);
});

Deno.test("a larger frame size, once announced, is taken", () => {
  const bytes = bytesOf(SETTINGS, frame(Data, 0, 1, zeros(20_000)));
  assertEquals(readAll(bytes, [bytes.length], new FrameReader(20_000)).error, NONE);
  assertEquals(readAll(bytes, [bytes.length], new FrameReader(19_999)).error, FRAME_SIZE);
});

/** Reads one frame behind SETTINGS. */
function readOne(bytes: Uint8Array): FrameReader {
  const reader = new FrameReader();
  reader.next(SETTINGS, 0, SETTINGS.length);
  assertEquals(reader.next(bytes, 0, bytes.length), bytes.length);
  return reader;
}

const contentOf = (reader: FrameReader, bytes: Uint8Array) =>
  String.fromCharCode(...bytes.subarray(reader.start, reader.end));

Deno.test("the content of HEADERS is the field block without padding and priority", () => {
  for (
    const [flags, ...parts] of [[0, "block"], [Padded, 3, "block", zeros(3)], [
      Flag.Priority,
      zeros(5),
      "block",
    ], [Padded | Flag.Priority, 2, zeros(5), "block", zeros(2)]] as const
  ) {
    const bytes = frame(Headers, flags | EndHeaders | EndStream, 5, ...parts);
    const reader = readOne(bytes);
    assertEquals(contentOf(reader, bytes), "block");
    assertEquals([reader.streamId, reader.endStream, reader.endHeaders], [5, true, true]);
  }
});

Deno.test("the numbers in RST_STREAM, GOAWAY and WINDOW_UPDATE are read in full", () => {
  assertEquals(readOne(frame(RstStream, 0, 1, 0xff, 0xfe, 0xfd, 0xfc)).code, 0xfffefdfc);
  const goaway = frame(Goaway, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 11, "why");
  const reader = readOne(goaway);
  assertEquals([reader.lastStreamId, reader.code], [0x7fffffff, H2Code.EnhanceYourCalm]);
  assertEquals(contentOf(reader, goaway), "why");
  assertEquals(readOne(frame(WindowUpdate, 0, 1, 0xff, 0xff, 0xff, 0xff)).increment, 0x7fffffff);
  assertEquals(readOne(frame(Ping, Ack, 0, zeros(8))).ack, true);
  assertEquals(readOne(frame(Settings, 0, 0, zeros(6))).ack, false);
});

Deno.test("padding of DATA counts for flow control, not as content", () => {
  const bytes = bytesOf(SETTINGS, frame(Data, Padded | EndStream, 1, 4, "abc", zeros(4)));
  const { frames } = readAll(bytes);
  assertEquals(frames[1], {
    type: Data,
    flags: Padded | EndStream,
    stream: 1,
    length: 8,
    content: toHex(bytesOf("abc")),
    flow: 8,
    pieces: 1,
    endStream: true,
  });
});

Deno.test("DATA can be taken in pieces cut at any two bytes, and ends the stream only with the last", () => {
  const data = frame(Data, Padded | EndStream, 1, 3, "content", zeros(3));
  const bytes = bytesOf(SETTINGS, data, frame(Data, EndStream, 3, "next"));
  const whole = readAll(bytes).frames;
  for (let first = 0; first <= bytes.length; first++) {
    for (let second = first; second <= bytes.length; second++) {
      const cut = readAll(bytes, [first, second, bytes.length]);
      assertEquals(cut.error, NONE);
      assertEquals(cut.frames.map((seen) => ({ ...seen, pieces: 1 })), whole);
    }
  }
});

Deno.test("a piece of DATA that arrives is handed out at once", () => {
  const reader = new FrameReader();
  const bytes = bytesOf(SETTINGS, frame(Data, EndStream, 1, "abcdef"));
  let at = reader.next(bytes, 0, bytes.length);
  at = reader.next(bytes, at, at + 9 + 2);
  assertEquals(contentOf(reader, bytes), "ab");
  assertEquals([reader.first, reader.last, reader.endStream, reader.unfinished], [
    true,
    false,
    false,
    true,
  ]);
  assertEquals([reader.dataLength, reader.flow], [6, 2]);
  assertEquals(reader.next(bytes, at, at), NEED_MORE);
  at = reader.next(bytes, at, bytes.length);
  assertEquals(contentOf(reader, bytes), "cdef");
  assertEquals([reader.first, reader.last, reader.endStream, reader.unfinished], [
    false,
    true,
    true,
    false,
  ]);
  assertEquals(at, bytes.length);
});

Deno.test("a field block without its end is unfinished", () => {
  assertEquals(readOne(frame(Headers, 0, 1, 0x82)).unfinished, true);
  assertEquals(readOne(frame(Headers, EndHeaders, 1, 0x82)).unfinished, false);
});

Deno.test("what the encoders write is what the reader reads", () => {
  const opaque = bytesOf("..12345678..");
  const bytes = written((out) => {
    encodeSettings(out, [[1, 0], [4, 0xfffffffe]]);
    encodeSettingsAck(out);
    encodePing(out, opaque, 2);
    encodePingAck(out, opaque, 2);
    encodeRstStream(out, 0x7fffffff, H2Code.Cancel);
    encodeGoaway(out, 7, H2Code.NoError, "max_age");
    encodeWindowUpdate(out, 3, 0x7fffffff);
    encodeDataHeader(out, 9, 3, true);
    out.text("abc");
    encodeDataHeader(out, 9, 0, false);
  });
  const { frames, error } = readAll(bytes);
  assertEquals(error, NONE);
  assertEquals(
    frames.map((seen) => [frameName(seen.type), seen.flags, seen.stream, seen.content]),
    [
      ["SETTINGS", 0, 0, "000100000000" + "0004fffffffe"],
      ["SETTINGS", Ack, 0, ""],
      ["PING", 0, 0, toHex(bytesOf("12345678"))],
      ["PING", Ack, 0, toHex(bytesOf("12345678"))],
      ["RST_STREAM", 0, 0x7fffffff, "00000008"],
      ["GOAWAY", 0, 0, toHex(bytesOf("max_age"))],
      ["WINDOW_UPDATE", 0, 3, "7fffffff"],
      ["DATA", EndStream, 9, toHex(bytesOf("abc"))],
      ["DATA", 0, 9, ""],
    ],
  );
});

Deno.test("a field block is split into CONTINUATION frames at the peer's frame size", () => {
  const max = 100;
  for (const length of [0, 1, 99, 100, 101, 200, 201, 350]) {
    const block = Uint8Array.from({ length }, (_, i) => i & 0xff);
    const bytes = written((out) => {
      out.bytes(SETTINGS);
      const at = beginHeaders(out);
      out.bytes(block);
      endHeaders(out, at, { streamId: 5, endStream: true, maxFrameSize: max });
      out.bytes(frame(Ping, 0, 0, zeros(8)));
    });
    const { frames, error } = readAll(bytes);
    assertEquals(error, NONE);
    const parts = frames.slice(1, -1);
    assertEquals(parts.length, Math.max(1, Math.ceil(length / max)));
    assertEquals(parts.map((part) => part.content).join(""), toHex(block));
    assertEquals(
      parts.map((part) => part.type),
      parts.map((_, i) => i === 0 ? Headers : Continuation),
    );
    for (const [i, part] of parts.entries()) {
      assert(part.length <= max && part.stream === 5);
      const endHeaders = i === parts.length - 1 ? EndHeaders : 0;
      assertEquals(part.flags, endHeaders | (i === 0 ? EndStream : 0));
    }
    assertEquals(frames.at(-1)!.type, Ping);
  }
});

Deno.test("random frames never throw, and frames and errors do not depend on the chunks", () => {
  const payloads = fc.uint8Array({ maxLength: 40 });
  const frames = fc.tuple(fc.nat(12), fc.nat(255), fc.constantFrom(0, 1, 3, 0x80000001), payloads)
    .map(([type, flags, stream, payload]) => frame(type, flags, stream, payload));
  const valid = fc.tuple(fc.constantFrom(0, 6, 8, 13), payloads).map(([type, payload]) =>
    type === Data ? frame(Data, 1, 1, payload) : frame(
      type,
      0,
      type === Ping ? 0 : 1,
      type === Ping ? zeros(8) : type === 8 ? bytesOf(0, 0, 0, 1) : payload,
    )
  );
  fc.assert(
    fc.property(
      fc.array(fc.oneof({ weight: 4, arbitrary: valid }, frames, payloads), { maxLength: 8 }),
      fc.array(fc.nat(300), { maxLength: 6 }),
      (parts, cuts) => {
        const bytes = bytesOf(SETTINGS, ...parts);
        const ends = cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b);
        const whole = readAll(bytes);
        const cut = readAll(bytes, [...ends, bytes.length]);
        assertEquals(cut.error, whole.error);
        assertEquals(cut.frames.map((seen) => ({ ...seen, pieces: 1 })), whole.frames);
      },
    ),
    { seed: 9113, numRuns: 2000 },
  );
});

Deno.test("the preface is told from anything else at the first byte that differs", () => {
  assertEquals(CLIENT_PREFACE.length, 24);
  const bytes = bytesOf("..", CLIENT_PREFACE, "..");
  for (let end = 2; end < 2 + 24; end++) assertEquals(matchPreface(bytes, 2, end), "partial");
  assertEquals(matchPreface(bytes, 2, 26), "match");
  assertEquals(matchPreface(bytes, 2, 28), "match");
  for (let i = 0; i < 24; i++) {
    const other = CLIENT_PREFACE.slice();
    other[i]! ^= 1;
    assertEquals(matchPreface(other, 0, i), "partial");
    assertEquals(matchPreface(other, 0, i + 1), "mismatch");
  }
  const http1 = bytesOf("PRI / HTTP/1.1\r\n");
  assertEquals(matchPreface(http1, 0, http1.length), "mismatch");
});

Deno.test("codes and frame types have the names of RFC 9113, unknown ones their numbers", () => {
  assertEquals(codeName(H2Code.Http11Required), "HTTP_1_1_REQUIRED");
  assertEquals(codeName(0xff), "0xff");
  assertEquals(frameName(Continuation), "CONTINUATION");
  assertEquals(frameName(0x10), "type 16");
  assertEquals(MIN_MAX_FRAME_SIZE, 16_384);
});
