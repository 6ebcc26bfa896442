/**
 * Frames of HTTP/2: RFC 9113, sections 4 and 6.
 *
 * @module
 */

/** Frame types: RFC 9113, section 6. */
export const FrameType = {
  Data: 0x0,
  Headers: 0x1,
  Priority: 0x2,
  RstStream: 0x3,
  Settings: 0x4,
  PushPromise: 0x5,
  Ping: 0x6,
  Goaway: 0x7,
  WindowUpdate: 0x8,
  Continuation: 0x9,
} as const;

/** The highest frame type that RFC 9113 defines; those above are ignored (section 5.5). */
export const LAST_FRAME_TYPE: number = FrameType.Continuation;

/** Flags; what a bit means depends on the frame type. */
export const Flag = {
  /** SETTINGS and PING. */
  Ack: 0x1,
  /** DATA and HEADERS. */
  EndStream: 0x1,
  /** HEADERS and CONTINUATION. */
  EndHeaders: 0x4,
  /** DATA and HEADERS. */
  Padded: 0x8,
  /** HEADERS. */
  Priority: 0x20,
} as const;

/** Bytes of a frame header (RFC 9113, section 4.1). */
export const FRAME_HEADER_SIZE = 9;
/** The least value of `SETTINGS_MAX_FRAME_SIZE`, and its initial one (RFC 9113, section 6.5.2). */
export const MIN_MAX_FRAME_SIZE = 16_384;
/** The largest value of `SETTINGS_MAX_FRAME_SIZE`. */
export const MAX_MAX_FRAME_SIZE = 0xffffff;
/** The largest stream identifier and the largest window (RFC 9113, sections 5.1.1 and 6.9.1). */
export const MAX_UINT31 = 0x7fffffff;
/** Bytes of the payload of a PING. */
export const PING_SIZE = 8;

const NAMES = [
  "DATA",
  "HEADERS",
  "PRIORITY",
  "RST_STREAM",
  "SETTINGS",
  "PUSH_PROMISE",
  "PING",
  "GOAWAY",
  "WINDOW_UPDATE",
  "CONTINUATION",
];

/** The name of a frame type as RFC 9113 writes it; an unknown one as its number. */
export function frameName(type: number): string {
  return NAMES[type] ?? `type ${type}`;
}

/** Reads 31 bits; the reserved bit before them is ignored (RFC 9113, section 4.1). */
export function readUint31(bytes: Uint8Array, at: number): number {
  return (bytes[at]! & 0x7f) << 24 | bytes[at + 1]! << 16 | bytes[at + 2]! << 8 | bytes[at + 3]!;
}

/** Reads 32 bits. */
export function readUint32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24 | bytes[at + 1]! << 16 | bytes[at + 2]! << 8 | bytes[at + 3]!) >>> 0;
}

/** Writes 32 bits. */
export function putUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}
