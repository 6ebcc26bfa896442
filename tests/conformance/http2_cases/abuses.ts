/**
 * What costs us more than the client.
 *
 * @module
 */
import { H2Code } from "../../../lib/http/h2/errors.ts";
import { FrameType } from "../../../lib/http/h2/frames.ts";
import { encodeBlock } from "../../support/h2_peer.ts";
import { concat, data, frame, rst, settings, u32, windowUpdate } from "../../support/h2_raw.ts";
import { block, END, flood, goaway, headers, HELD, type Http2Case, OPEN, REQUEST } from "./case.ts";

const heldBlock = encodeBlock(HELD);
const ping = frame(FrameType.Ping, 0, 0, new Uint8Array(8));
const TINY_FIELD = [0, 1, 0x78, 1, 0x79];

const times = (count: number, make: (i: number) => readonly Uint8Array[]): Uint8Array[] =>
  Array.from({ length: count }, (_, i) => make(i)).flat();

/** What costs us more than the client. */
export const ABUSE_CASES: readonly Http2Case[] = [
  {
    id: "A1",
    why: "rapid reset: requests that are cancelled at once (CVE-2023-44487)",
    section: "10.5",
    frames: (id) => times(2000, (i) => [headers(id + 2 * i), rst(id + 2 * i)]),
    verdict: flood("rapid_reset"),
    forwarded: 110,
  },
  {
    id: "A2-WINDOW",
    why: "making us reset by windows that overflow (CVE-2025-8671)",
    section: "10.5",
    frames: (id) =>
      times(500, (i) => [headers(id + 2 * i, OPEN), windowUpdate(id + 2 * i, 0x7fffffff)]),
    verdict: flood("rapid_reset"),
    forwarded: 110,
  },
  {
    id: "A2-MALFORMED",
    why: "making us reset by malformed heads",
    section: "10.5",
    frames: (id) =>
      times(500, (i) => [headers(id + 2 * i, END, [...REQUEST, ["connection", "x"]])]),
    verdict: flood("rapid_reset"),
  },
  {
    id: "A2-DATA",
    why: "making us reset by DATA behind the end of the request",
    section: "10.5",
    frames: (id) => times(500, (i) => [headers(id + 2 * i, END, HELD), data(id + 2 * i, 1)]),
    verdict: flood("rapid_reset"),
    forwarded: 110,
  },
  {
    id: "A2-HEADERS",
    why: "making us reset by HEADERS behind the end of the request",
    section: "10.5",
    frames: (id) =>
      times(500, (i) => [headers(id + 2 * i, END, HELD), headers(id + 2 * i, END, [["x", "y"]])]),
    verdict: flood("rapid_reset"),
    forwarded: 110,
  },
  {
    id: "A2-LENGTH",
    why: "making us reset by more content than Content-Length",
    section: "10.5",
    frames: (id) =>
      times(500, (i) => [
        headers(id + 2 * i, OPEN, [...HELD, ["content-length", "1"]]),
        data(id + 2 * i, 2),
      ]),
    verdict: flood("rapid_reset"),
    forwarded: 110,
  },
  {
    id: "A2-PRIORITY",
    why: "a stream that depends on itself is no way to a reset",
    section: "10.5",
    frames: (id) => [headers(id, OPEN, HELD), frame(FrameType.Priority, 0, id, [...u32(id), 0])],
    verdict: goaway(H2Code.ProtocolError),
    forwarded: 1,
  },
  {
    id: "A3",
    why: "a field block without end (CVE-2024-27316 and its kin)",
    section: "10.5.1",
    frames: (id) => [
      frame(FrameType.Headers, 1, id, block),
      ...times(20_000, () => [frame(FrameType.Continuation, 0, id, TINY_FIELD)]),
    ],
    verdict: flood("continuation_flood"),
  },
  {
    id: "A3-SIZE",
    why: "a field block of few large frames",
    section: "10.5.1",
    frames: (id) => [
      frame(FrameType.Headers, 1, id, block),
      ...times(100, () => [frame(FrameType.Continuation, 0, id, new Uint8Array(16_000))]),
    ],
    verdict: flood("field_block_flood"),
  },
  {
    id: "A4",
    why: "CONTINUATION without content",
    section: "10.5",
    frames: (id) => [
      frame(FrameType.Headers, 1, id, block),
      ...times(20_000, () => [frame(FrameType.Continuation, 0, id)]),
    ],
    verdict: flood("continuation_flood"),
  },
  {
    id: "A5-PING",
    why: "PINGs that all want an answer (CVE-2019-9512)",
    section: "10.5",
    frames: () => times(20_000, () => [ping]),
    verdict: flood("too_many_pings"),
  },
  {
    id: "A5-SETTINGS",
    why: "SETTINGS that all want an answer (CVE-2019-9515)",
    section: "10.5",
    frames: () => times(20_000, () => [settings()]),
    verdict: flood("settings_flood"),
  },
  {
    id: "A6",
    why: "DATA without content (CVE-2019-9518)",
    section: "10.5",
    frames: (id) => [headers(id, OPEN, HELD), ...times(20_000, () => [data(id, 0)])],
    verdict: flood("empty_frames"),
    forwarded: 1,
  },
  {
    id: "A6-PADDING",
    why: "DATA of nothing but padding",
    section: "10.5",
    frames: (id) => [
      headers(id, OPEN, HELD),
      ...times(5000, () => [frame(FrameType.Data, 8, id, [2, 0, 0])]),
    ],
    verdict: flood("empty_frames"),
    forwarded: 1,
  },
  {
    id: "A7",
    why: "PRIORITY, which means nothing any more (CVE-2019-9513)",
    section: "5.3.2",
    frames: (id) => times(20_000, () => [frame(FrameType.Priority, 0, id, [0, 0, 0, 0, 1])]),
    verdict: flood("priority_flood"),
  },
  {
    id: "A8",
    why: "windows that open byte by byte (CVE-2019-9511)",
    section: "10.5",
    frames: (id) => [
      headers(id, OPEN, HELD),
      ...times(10_000, () => [windowUpdate(id, 1), windowUpdate(0, 1)]),
    ],
    verdict: flood("window_update_flood"),
    forwarded: 1,
  },
  {
    id: "A9",
    why: "an HPACK bomb: an entry of 3,900 bytes, named 12,000 times",
    section: "RFC 7541, 7.3",
    frames: (id) => {
      const length = 3900 - 127;
      const entry = [0x40, 1, 0x78, 0x7f, (length & 127) | 128, length >> 7];
      return [
        frame(
          FrameType.Headers,
          END,
          id,
          concat(heldBlock, entry, new Uint8Array(3900).fill(0x76)),
        ),
        frame(FrameType.Headers, END, id + 2, concat(block, new Uint8Array(12_000).fill(0xbe))),
      ];
    },
    verdict: flood("field_block_flood"),
    forwarded: 1,
  },
  {
    id: "E13-FLOOD",
    why: "frames of unknown types are ignored, not for ever",
    section: "10.5",
    frames: () => times(20_000, () => [frame(0x33, 0, 0, [1])]),
    verdict: flood("unknown_frames"),
  },
];
