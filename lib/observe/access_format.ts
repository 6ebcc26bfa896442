/**
 * One line per exchange: what an access log records and the two formats it is written in. Pure
 * functions; what a client sent cannot forge a line in either.
 *
 * @module
 */

import { escapeBytes, escapeWord, quoteJson } from "./escape.ts";

/** What is recorded of one exchange. Text that is not known is empty. */
export interface AccessRecord {
  /** When it ended, in milliseconds since the epoch. */
  readonly time: number;
  /** The listener's name. */
  readonly listener: string;
  /** The client's address. */
  readonly client: string;
  /** The method as sent. */
  readonly method: string;
  /** The target as sent, query included. */
  readonly target: string;
  /** The protocol, e.g. `HTTP/1.1`. */
  readonly protocol: string;
  /** The final status; 0 when the exchange ended without one. */
  readonly status: number;
  /** Bytes received from the client. */
  readonly bytesIn: number;
  /** Bytes sent to the client. */
  readonly bytesOut: number;
  /** From the first byte of the request to the last of the response, in milliseconds. */
  readonly durationMs: number;
  /** The route's id. */
  readonly route: string;
  /** The address of the backend of the last attempt. */
  readonly backend: string;
  /** How often a backend was tried. */
  readonly attempts: number;
  /** The value of `X-Request-Id`. */
  readonly requestId: string;
  /** The host the request names. */
  readonly host: string;
  /** The value of `User-Agent`. */
  readonly userAgent: string;
  /** The value of `Referer`. */
  readonly referer: string;
  /** The error code; empty when all went well. */
  readonly error: string;
}

/** Builds a formatter of the part of a time above milliseconds that works once per second. */
function perSecond(format: (second: number) => string): (time: number) => string {
  let cachedSecond = NaN;
  let cached = "";
  return (time) => {
    const second = Math.floor(time / 1000);
    if (second !== cachedSecond) {
      cached = format(second);
      cachedSecond = second;
    }
    return cached;
  };
}

const isoSecond = perSecond((second) => new Date(second * 1000).toISOString().slice(0, -4));

const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

const commonLogSecond = perSecond((second) => {
  const iso = new Date(second * 1000).toISOString();
  return `${iso.slice(8, 10)}/${MONTHS[Number(iso.slice(5, 7)) - 1]}/${iso.slice(0, 4)}:` +
    `${iso.slice(11, 19)} +0000`;
});

/** JSON has no other numbers than finite ones (RFC 8259, section 6). */
function jsonNumber(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/**
 * One JSON object with names in snake case, without a line end. The time is UTC with milliseconds
 * (RFC 3339), `duration_ms` is rounded to microseconds.
 *
 * @throws `RangeError` when the time is not a valid one.
 */
export function formatJson(record: AccessRecord): string {
  const milliseconds = String(Math.floor(record.time) % 1000).padStart(3, "0");
  return `{"time":"${isoSecond(record.time)}${milliseconds}Z"` +
    `,"listener":${quoteJson(record.listener)}` +
    `,"client":${quoteJson(record.client)}` +
    `,"method":${quoteJson(record.method)}` +
    `,"host":${quoteJson(record.host)}` +
    `,"target":${quoteJson(record.target)}` +
    `,"protocol":${quoteJson(record.protocol)}` +
    `,"status":${jsonNumber(record.status)}` +
    `,"bytes_in":${jsonNumber(record.bytesIn)}` +
    `,"bytes_out":${jsonNumber(record.bytesOut)}` +
    `,"duration_ms":${jsonNumber(Math.round(record.durationMs * 1000) / 1000)}` +
    `,"route":${quoteJson(record.route)}` +
    `,"backend":${quoteJson(record.backend)}` +
    `,"attempts":${jsonNumber(record.attempts)}` +
    `,"request_id":${quoteJson(record.requestId)}` +
    `,"user_agent":${quoteJson(record.userAgent)}` +
    `,"referer":${quoteJson(record.referer)}` +
    `,"error":${quoteJson(record.error)}}`;
}

/**
 * Apache's combined format, without a line end:
 * `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"`. An exchange without a status gets `000`,
 * as nginx writes it; one without a byte sent gets `-`, as Apache does.
 *
 * @throws `RangeError` when the time is not a valid one.
 */
export function formatCombined(record: AccessRecord): string {
  const request = record.method === ""
    ? "-"
    : `${escapeBytes(record.method)} ${escapeBytes(record.target)} ${escapeBytes(record.protocol)}`;
  return `${escapeWord(record.client)} - - [${commonLogSecond(record.time)}] "${request}" ` +
    `${String(record.status).padStart(3, "0")} ${record.bytesOut > 0 ? record.bytesOut : "-"} ` +
    `"${escapeBytes(record.referer || "-")}" "${escapeBytes(record.userAgent || "-")}"`;
}
