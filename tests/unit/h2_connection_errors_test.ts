import { assert, assertEquals } from "@std/assert";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { Setting } from "../../lib/http/h2/settings.ts";
import { CLIENT_PREFACE } from "../../lib/http/h2/preface.ts";
import { encodeBlock } from "../support/h2_peer.ts";
import {
  concat,
  data,
  frame,
  goaway,
  headers,
  RawPeer,
  REQUEST,
  rst,
  settings,
  windowUpdate,
} from "../support/h2_raw.ts";

const OPEN = 0x4;
const block = encodeBlock(REQUEST);

/** What ends the connection; the names of rows are those of the case lists. */
const CONNECTION_ERRORS: readonly (readonly [
  name: string,
  code: number,
  frames: readonly Uint8Array[],
])[] = [
  ["E1 an even stream", H2Code.ProtocolError, [headers(2)]],
  ["E1 a lower stream", H2Code.StreamClosed, [headers(5), headers(3)]],
  ["E2 HEADERS on a closed stream", H2Code.StreamClosed, [headers(1), rst(1), headers(1)]],
  ["E3 DATA on an idle stream", H2Code.ProtocolError, [data(1, 1)]],
  ["E3 RST_STREAM on an idle stream", H2Code.ProtocolError, [rst(1)]],
  ["E3 WINDOW_UPDATE on an idle stream", H2Code.ProtocolError, [windowUpdate(1, 1)]],
  ["E3 DATA on stream 0", H2Code.ProtocolError, [data(0, 1)]],
  ["E5 an increment of 0 on the connection", H2Code.ProtocolError, [windowUpdate(0, 0)]],
  ["E5 an increment of 0 on a stream", H2Code.ProtocolError, [
    headers(1, OPEN),
    windowUpdate(1, 0),
  ]],
  [
    "E6 the connection's window above 2^31-1",
    H2Code.FlowControlError,
    [windowUpdate(0, 0x7fffffff)],
  ],
  [
    "E6 streams' windows above 2^31-1 by SETTINGS",
    H2Code.FlowControlError,
    [
      headers(1, OPEN),
      windowUpdate(1, 0x7fffffff - 65_535),
      settings([Setting.InitialWindowSize, 65_536]),
    ],
  ],
  [
    "E7 INITIAL_WINDOW_SIZE of 2^31",
    H2Code.FlowControlError,
    [settings([Setting.InitialWindowSize, 0x80000000])],
  ],
  ["E7 MAX_FRAME_SIZE of 1", H2Code.ProtocolError, [settings([Setting.MaxFrameSize, 1])]],
  ["E7 SETTINGS of 5 bytes", H2Code.FrameSizeError, [frame(4, 0, 0, [0, 0, 0, 0, 0])]],
  ["E7 an ACK with a payload", H2Code.FrameSizeError, [frame(4, 1, 0, [0, 0, 0, 0, 0, 0])]],
  ["E7 SETTINGS on a stream", H2Code.ProtocolError, [frame(4, 0, 1)]],
  ["E9 PING of 7 bytes", H2Code.FrameSizeError, [frame(6, 0, 0, new Uint8Array(7))]],
  ["E9 a frame above 16,384 bytes", H2Code.FrameSizeError, [headers(1, OPEN), data(1, 16_385)]],
  ["E9 PRIORITY of 4 bytes", H2Code.FrameSizeError, [frame(2, 0, 1, [0, 0, 0, 0])]],
  ["E10 CONTINUATION alone", H2Code.ProtocolError, [frame(9, 4, 1, block)]],
  [
    "E10 another frame inside a field block",
    H2Code.ProtocolError,
    [headers(1, 0), frame(6, 0, 0, new Uint8Array(8))],
  ],
  [
    "E10 CONTINUATION of another stream",
    H2Code.ProtocolError,
    [headers(1, 0), frame(9, 4, 3, block)],
  ],
  ["E11 padding as long as DATA", H2Code.ProtocolError, [headers(1, OPEN), frame(0, 8, 1, [1])]],
  ["E11 padding longer than HEADERS", H2Code.ProtocolError, [frame(1, 0xd, 1, [200, ...block])]],
  ["E12 PUSH_PROMISE", H2Code.ProtocolError, [frame(5, 4, 1, [0, 0, 0, 2, ...block])]],
  ["E14 index 0", H2Code.CompressionError, [frame(1, 5, 1, [0x80])]],
  ["E14 index 200", H2Code.CompressionError, [frame(1, 5, 1, [0xff, 0x49])]],
  ["E14 a size update above the limit", H2Code.CompressionError, [
    frame(1, 5, 1, [0x3f, 0xe2, 0x1f, ...block]),
  ]],
  ["E14 bad Huffman padding", H2Code.CompressionError, [frame(1, 5, 1, [0x04, 0x81, 0x00])]],
  ["E15 a size update behind a field", H2Code.CompressionError, [frame(1, 5, 1, [...block, 0x20])]],
  ["PRIORITY of a stream on itself", H2Code.ProtocolError, [frame(2, 0, 1, [0, 0, 0, 1, 0])]],
  [
    "HEADERS of a stream that depends on itself",
    H2Code.ProtocolError,
    [frame(1, 0x25, 1, [0, 0, 0, 1, 0, ...block])],
  ],
];

for (const [name, code, frames] of CONNECTION_ERRORS) {
  Deno.test(`a connection error ends the connection with its code: ${name}`, async () => {
    const peer = await RawPeer.open();
    await peer.send(...frames);
    assertEquals(peer.goawayCode, code);
    assert(peer.ended, "our side is ended behind GOAWAY");
    assertEquals(peer.connection.streams, 0);
    assertEquals(peer.connection.error?.code, code);
    await peer.close();
  });
}

/** What ends one stream only. */
const STREAM_ERRORS: readonly (readonly [
  name: string,
  code: number,
  frames: readonly Uint8Array[],
])[] = [
  ["E4 DATA behind END_STREAM", H2Code.StreamClosed, [headers(1), data(1, 3)]],
  [
    "E6 a stream's window above 2^31-1",
    H2Code.FlowControlError,
    [headers(1, OPEN), windowUpdate(1, 0x7fffffff)],
  ],
  ["D1 a value with NUL", H2Code.ProtocolError, [headers(1, 5, [...REQUEST, ["x", "a\0b"]])]],
  ["D18 a second head", H2Code.ProtocolError, [headers(1, OPEN), headers(1, OPEN)]],
  ["D15 a pseudo-field in trailers", H2Code.ProtocolError, [headers(1, OPEN), headers(1, 5)]],
  [
    "D13 Content-Length with END_STREAM",
    H2Code.ProtocolError,
    [headers(1, 5, [...REQUEST, ["content-length", "5"]])],
  ],
  [
    "D14 more than Content-Length",
    H2Code.ProtocolError,
    [headers(1, OPEN, [...REQUEST, ["content-length", "1"]]), data(1, 5, 1)],
  ],
  [
    "D14 less than Content-Length, with trailers",
    H2Code.ProtocolError,
    [
      headers(1, OPEN, [...REQUEST, ["content-length", "9"]]),
      data(1, 5),
      headers(1, 5, [["x", "y"]]),
    ],
  ],
];

for (const [name, code, frames] of STREAM_ERRORS) {
  Deno.test(`a stream error ends its stream and no other: ${name}`, async () => {
    const peer = await RawPeer.open();
    await peer.send(...frames);
    assertEquals(peer.resets, [[1, code]]);
    assertEquals(peer.connection.streams, 0);
    assertEquals(peer.goawayCode, undefined);
    peer.onCall = (call) => call.answer();
    await peer.send(headers(3));
    assertEquals(peer.received(3), 5);
    await peer.close();
  });
}

Deno.test("a stream whose window is exceeded is reset, and the connection's window is given back", async () => {
  const peer = await RawPeer.open("server", { streamWindow: 10, connectionWindow: 70_000 });
  await peer.send(headers(1, OPEN), data(1, 11));
  assertEquals(peer.resets, [[1, H2Code.FlowControlError]]);
  // More than the connection grants at first can still be sent by others.
  peer.onCall = (call) => call.answer();
  for (let id = 3; id < 16_003; id += 160) {
    const ids = Array.from({ length: 80 }, (_, i) => id + 2 * i);
    await peer.send(...ids.flatMap((id) => [headers(id, OPEN), data(id, 10, 1)]));
  }
  assertEquals(peer.calls.length, 8001);
  assertEquals(peer.goawayCode, undefined);
  await peer.close();
});

Deno.test("E13 frames of unknown types are ignored", async () => {
  const peer = await RawPeer.open();
  await peer.send(frame(0x20, 0xff, 0, [1, 2, 3]), frame(0x21, 0, 99), headers(1));
  assertEquals(peer.calls.length, 1);
  assertEquals(peer.take(), []);
  await peer.close();
});

Deno.test("E16 blocks of refused streams keep the compression state right", async () => {
  const peer = await RawPeer.open("server", { maxConcurrentStreams: 1 });
  const indexed = [0x40, 1, 0x78, 1, 0x79]; // x: y, into the table
  await peer.send(
    headers(1, OPEN),
    frame(1, 5, 3, concat(block, indexed)),
    data(1, 1, 1),
  );
  assertEquals(peer.resets, [[3, H2Code.RefusedStream]]);
  peer.calls[0]!.answer();
  await peer.send(frame(1, 5, 5, concat(block, [0xbe])));
  assertEquals(peer.calls[1]!.fields.at(-1), ["x", "y"]);
  await peer.close();
});

Deno.test("DATA of a stream that we reset is ignored and gives the connection's window back", async () => {
  const peer = await RawPeer.open("server", { connectionWindow: 65_535 });
  await peer.send(headers(1, OPEN));
  peer.calls[0]!.stream.reset();
  await peer.send(data(1, 16_384), data(1, 16_384), data(1, 10_000));
  assertEquals(peer.resets, [[1, H2Code.Cancel]]);
  assertEquals(peer.grants.every(([id]) => id === 0), true);
  assert(peer.grants.reduce((sum, [, count]) => sum + count, 0) >= 32_768);
  assertEquals(peer.goawayCode, undefined);
  await peer.close();
});

Deno.test("A12 streams above the limit are refused, and free again when others end", async () => {
  const peer = await RawPeer.open("server", { maxConcurrentStreams: 100 });
  await peer.send(...Array.from({ length: 150 }, (_, i) => headers(2 * i + 1)));
  assertEquals(peer.calls.length, 100);
  assertEquals(peer.resets.length, 50);
  assert(peer.resets.every(([, code]) => code === H2Code.RefusedStream));
  for (const call of peer.calls) call.answer();
  await peer.send(headers(401));
  assertEquals(peer.calls.length, 101);
  await peer.close();
});

Deno.test("what is no preface ends the connection", async () => {
  const peer = new RawPeer();
  await peer.push(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n      "));
  assertEquals(peer.goawayCode, H2Code.ProtocolError);
  assert(peer.ended);
  await peer.close();
});

Deno.test("the first frame must be SETTINGS", async () => {
  const peer = new RawPeer();
  await peer.push(CLIENT_PREFACE, headers(1));
  assertEquals(peer.goawayCode, H2Code.ProtocolError);
  await peer.close();
});

Deno.test("a server may not open streams, nor send DATA before a head, nor behind the end", async () => {
  for (
    const [frames, code] of [
      [[headers(2)], H2Code.ProtocolError],
      [[headers(1, 4, [[":status", "200"]]), goaway(1), headers(3)], H2Code.ProtocolError],
    ] as const
  ) {
    const peer = await RawPeer.open("client");
    const request = peer.request();
    await peer.send(...frames);
    assertEquals(peer.goawayCode, code);
    assert(request.reset!.connectionLost);
    await peer.close();
  }
  const peer = await RawPeer.open("client");
  const call = peer.request();
  await peer.send(data(1, 4));
  assertEquals(peer.resets, [[1, H2Code.ProtocolError]]);
  assertEquals(call.reset?.code, H2Code.ProtocolError);
  await peer.close();
});
