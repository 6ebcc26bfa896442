/**
 * Parsing texts with the HTTP/1.1 codec.
 *
 * @module
 */
import type { FieldTable } from "../../lib/http/h1/fields.ts";
import type { Framing } from "../../lib/http/h1/framing.ts";
import type { HeadLimits } from "../../lib/http/h1/limits.ts";
import { RequestHead } from "../../lib/http/h1/request.ts";
import { ResponseHead } from "../../lib/http/h1/response.ts";
import { bytesOf } from "./http_text.ts";

/** Parses a request head at the beginning of a text. */
export function parseRequest(
  text: string,
  limits?: HeadLimits,
): { readonly end: number; readonly head: RequestHead } {
  const head = new RequestHead(limits);
  const bytes = bytesOf(text);
  return { end: head.parse(bytes, 0, bytes.length), head };
}

/** Parses a response head at the beginning of a text. */
export function parseResponse(
  text: string,
  noBody = false,
  limits?: HeadLimits,
): { readonly end: number; readonly head: ResponseHead } {
  const head = new ResponseHead(limits);
  const bytes = bytesOf(text);
  return { end: head.parse(bytes, 0, bytes.length, noBody), head };
}

/** A request head of 1.1 with a Host and the given field lines. */
export function requestHead(...lines: string[]): string {
  return ["GET / HTTP/1.1", "Host: a.example", ...lines].join("\r\n") + "\r\n\r\n";
}

/** A response head with the given field lines. */
export function responseHead(...lines: string[]): string {
  return ["HTTP/1.1 200 OK", ...lines].join("\r\n") + "\r\n\r\n";
}

/** The fields of a head as they were sent. */
export function fieldsOf(fields: FieldTable): [name: string, value: string][] {
  return Array.from({ length: fields.count }, (_, i) => [fields.name(i), fields.value(i)]);
}

/** Framing as text: `none`, `chunked`, `close` or the length in digits. */
export function framingText(framing: Framing): string {
  return framing.type === "length" ? String(framing.length) : framing.type;
}
