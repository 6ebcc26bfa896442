/**
 * Error codes of HTTP/2 and the two kinds of errors, as data.
 *
 * @module
 */

/** Error codes: RFC 9113, section 7. */
export const H2Code = {
  NoError: 0x0,
  ProtocolError: 0x1,
  InternalError: 0x2,
  FlowControlError: 0x3,
  SettingsTimeout: 0x4,
  StreamClosed: 0x5,
  FrameSizeError: 0x6,
  RefusedStream: 0x7,
  Cancel: 0x8,
  CompressionError: 0x9,
  ConnectError: 0xa,
  EnhanceYourCalm: 0xb,
  InadequateSecurity: 0xc,
  Http11Required: 0xd,
} as const;

/** An error code; peers may send others than those of {@linkcode H2Code}. */
export type H2Code = number;

const NAMES: readonly string[] = [
  "NO_ERROR",
  "PROTOCOL_ERROR",
  "INTERNAL_ERROR",
  "FLOW_CONTROL_ERROR",
  "SETTINGS_TIMEOUT",
  "STREAM_CLOSED",
  "FRAME_SIZE_ERROR",
  "REFUSED_STREAM",
  "CANCEL",
  "COMPRESSION_ERROR",
  "CONNECT_ERROR",
  "ENHANCE_YOUR_CALM",
  "INADEQUATE_SECURITY",
  "HTTP_1_1_REQUIRED",
];

/** The name of a code as RFC 9113 writes it; an unknown one in hexadecimal. */
export function codeName(code: H2Code): string {
  return NAMES[code] ?? `0x${code.toString(16)}`;
}

/** An error that ends the connection with GOAWAY: RFC 9113, section 5.4.1. */
export interface ConnectionError {
  /** Which kind. */
  readonly type: "connection";
  /** What GOAWAY says. */
  readonly code: H2Code;
  /** What was wrong, for the log and as debug data of GOAWAY. */
  readonly detail: string;
}

/** An error that ends one stream with RST_STREAM: RFC 9113, section 5.4.2. */
export interface StreamError {
  /** Which kind. */
  readonly type: "stream";
  /** The stream. */
  readonly streamId: number;
  /** What RST_STREAM says. */
  readonly code: H2Code;
  /** What was wrong, for the log. */
  readonly detail: string;
}

/** What a peer did wrong. */
export type H2Error = ConnectionError | StreamError;

/** Makes a connection error. */
export function connectionError(code: H2Code, detail: string): ConnectionError {
  return { type: "connection", code, detail };
}

/** Makes a stream error. */
export function streamError(streamId: number, code: H2Code, detail: string): StreamError {
  return { type: "stream", streamId, code, detail };
}
