/**
 * The client's connection preface: RFC 9113, section 3.4.
 *
 * @module
 */
import { ascii } from "../h1/chars.ts";

/** What a client sends before its first frame, which must be SETTINGS. */
export const CLIENT_PREFACE: Uint8Array = ascii("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/**
 * Whether `bytes[start..end)` begins with the preface: it does (`match`), it may once more bytes are there
 * (`partial`), or it cannot (`mismatch`).
 */
export function matchPreface(
  bytes: Uint8Array,
  start: number,
  end: number,
): "match" | "partial" | "mismatch" {
  const length = Math.min(end - start, CLIENT_PREFACE.length);
  for (let i = 0; i < length; i++) {
    if (bytes[start + i] !== CLIENT_PREFACE[i]) return "mismatch";
  }
  return length === CLIENT_PREFACE.length ? "match" : "partial";
}
