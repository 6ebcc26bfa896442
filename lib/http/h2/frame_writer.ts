/**
 * Encodes frames: RFC 9113, sections 4 and 6. All go behind what a writer holds already, so that the
 * frames of one turn leave in one write.
 *
 * @module
 */
import { latin1 } from "../h1/chars.ts";
import type { ByteWriter } from "../h1/writer.ts";
import type { H2Code } from "./errors.ts";
import { Flag, FRAME_HEADER_SIZE, FrameType, PING_SIZE, putUint32 } from "./frames.ts";

const SETTING_SIZE = 6;

/** Puts a frame header (9 bytes) at `buffer[at]`, where there must be room. */
export function putFrameHeader(
  buffer: Uint8Array,
  at: number,
  length: number,
  type: number,
  flags: number,
  streamId: number,
): void {
  buffer[at] = length >>> 16;
  buffer[at + 1] = length >>> 8;
  buffer[at + 2] = length;
  buffer[at + 3] = type;
  buffer[at + 4] = flags;
  putUint32(buffer, at + 5, streamId);
}

/** Encodes the header of a frame and makes room for its payload of `length` bytes. */
function beginFrame(
  out: ByteWriter,
  length: number,
  type: number,
  flags: number,
  streamId: number,
): void {
  out.reserve(FRAME_HEADER_SIZE + length);
  putFrameHeader(out.buffer, out.at, length, type, flags, streamId);
  out.at += FRAME_HEADER_SIZE;
}

function encodeUint32(out: ByteWriter, value: number): void {
  putUint32(out.buffer, out.at, value);
  out.at += 4;
}

/** Encodes the header of a DATA frame; the `length` bytes behind it are up to the caller. */
export function encodeDataHeader(
  out: ByteWriter,
  streamId: number,
  length: number,
  endStream: boolean,
): void {
  beginFrame(out, length, FrameType.Data, endStream ? Flag.EndStream : 0, streamId);
}

/**
 * Leaves room for the header of a HEADERS frame. The caller encodes the field block behind it and calls
 * {@linkcode endHeaders} before anything else goes into `out`.
 *
 * @returns Where the frame begins.
 */
export function beginHeaders(out: ByteWriter): number {
  const at = out.at;
  out.reserve(FRAME_HEADER_SIZE);
  out.at = at + FRAME_HEADER_SIZE;
  return at;
}

/**
 * Encodes the header of the HEADERS frame that begins at `at`. A field block longer than `maxFrameSize` is
 * split: what does not fit goes into CONTINUATION frames (RFC 9113, section 6.10).
 */
export function endHeaders(
  out: ByteWriter,
  at: number,
  { streamId, endStream, maxFrameSize }: {
    readonly streamId: number;
    readonly endStream: boolean;
    readonly maxFrameSize: number;
  },
): void {
  const block = at + FRAME_HEADER_SIZE;
  const length = out.at - block;
  const endFlag = endStream ? Flag.EndStream : 0;
  if (length <= maxFrameSize) {
    putFrameHeader(out.buffer, at, length, FrameType.Headers, endFlag | Flag.EndHeaders, streamId);
    return;
  }
  const continuations = Math.ceil(length / maxFrameSize) - 1;
  out.reserve(continuations * FRAME_HEADER_SIZE);
  const { buffer } = out;
  // From the last to the first, each makes room for the headers before it.
  let end = out.at;
  for (let i = continuations; i > 0; i--) {
    const start = block + i * maxFrameSize;
    const to = start + i * FRAME_HEADER_SIZE;
    buffer.copyWithin(to, start, end);
    const flags = i === continuations ? Flag.EndHeaders : 0;
    const header = to - FRAME_HEADER_SIZE;
    putFrameHeader(buffer, header, end - start, FrameType.Continuation, flags, streamId);
    end = start;
  }
  putFrameHeader(buffer, at, maxFrameSize, FrameType.Headers, endFlag, streamId);
  out.at += continuations * FRAME_HEADER_SIZE;
}

/** Encodes RST_STREAM. */
export function encodeRstStream(out: ByteWriter, streamId: number, code: H2Code): void {
  beginFrame(out, 4, FrameType.RstStream, 0, streamId);
  encodeUint32(out, code);
}

/** Encodes SETTINGS with the given identifiers (`Setting`) and values. */
export function encodeSettings(
  out: ByteWriter,
  entries: readonly (readonly [id: number, value: number])[],
): void {
  beginFrame(out, entries.length * SETTING_SIZE, FrameType.Settings, 0, 0);
  for (const [id, value] of entries) {
    out.buffer[out.at++] = id >>> 8;
    out.buffer[out.at++] = id;
    encodeUint32(out, value);
  }
}

/** Encodes the acknowledgement of SETTINGS. */
export function encodeSettingsAck(out: ByteWriter): void {
  beginFrame(out, 0, FrameType.Settings, Flag.Ack, 0);
}

/** Encodes a PING with the 8 bytes `opaque[at..at + 8)`. */
export function encodePing(out: ByteWriter, opaque: Uint8Array, at: number): void {
  beginFrame(out, PING_SIZE, FrameType.Ping, 0, 0);
  out.range(opaque, at, at + PING_SIZE);
}

/** Encodes the answer to the PING whose payload is `opaque[at..at + 8)`. */
export function encodePingAck(out: ByteWriter, opaque: Uint8Array, at: number): void {
  beginFrame(out, PING_SIZE, FrameType.Ping, Flag.Ack, 0);
  out.range(opaque, at, at + PING_SIZE);
}

/** Encodes GOAWAY; `debug` is for people, its characters must be bytes (ISO 8859-1). */
export function encodeGoaway(
  out: ByteWriter,
  lastStreamId: number,
  code: H2Code,
  debug = "",
): void {
  const bytes = latin1(debug);
  beginFrame(out, 8 + bytes.length, FrameType.Goaway, 0, 0);
  encodeUint32(out, lastStreamId);
  encodeUint32(out, code);
  out.bytes(bytes);
}

/** Encodes WINDOW_UPDATE, for the connection if `streamId` is 0; the increment is from 1 to 2^31-1. */
export function encodeWindowUpdate(out: ByteWriter, streamId: number, increment: number): void {
  beginFrame(out, 4, FrameType.WindowUpdate, 0, streamId);
  encodeUint32(out, increment);
}
