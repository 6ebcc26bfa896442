/**
 * How long a body is: RFC 9112, section 6.
 *
 * @module
 */
import { type FieldTable, Known } from "./fields.ts";

/** How the end of a body is found. */
export type Framing =
  | { readonly type: "none" }
  | { readonly type: "length"; readonly length: number }
  | { readonly type: "chunked" }
  /** Responses only: the body ends with the connection. */
  | { readonly type: "close" };

/** There is no body. */
export const NO_BODY: Framing = { type: "none" };

/**
 * The value of Content-Length: `1*DIGIT` and nothing else (RFC 9110, section 8.6), `Infinity` when it
 * is too large to count exactly, `undefined` when it is malformed.
 */
export function parseContentLength(fields: FieldTable, index: number): number | undefined {
  const { buffer, base, offsets } = fields;
  const start = base + offsets[index * 4 + 2]!;
  const end = base + offsets[index * 4 + 3]!;
  if (start === end) return undefined;
  let length = 0;
  for (let i = start; i < end; i++) {
    const digit = buffer[i]! - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    length = length * 10 + digit;
  }
  // RFC 9110, section 8.6: "a recipient MUST anticipate potentially large decimal numerals and
  // prevent parsing errors due to integer conversion overflows or precision loss".
  return length > Number.MAX_SAFE_INTEGER ? Infinity : length;
}

/**
 * What Transfer-Encoding says: `chunked` alone, or chunked behind other codings, which we do not
 * implement (RFC 9112, section 6.1: 501), or something whose end cannot be known.
 */
export function parseTransferEncoding(fields: FieldTable): "chunked" | "unsupported" | "invalid" {
  if (fields.has(Known.TransferEncoding) !== 1) return "invalid";
  const value = fields.value(fields.find(Known.TransferEncoding));
  if (value.toLowerCase() === "chunked") return "chunked";
  const codings = value.split(",").map((part) =>
    part.replace(/^[ \t]+|[ \t]+$/g, "").toLowerCase()
  );
  const last = codings.pop();
  // RFC 9112, section 6.1: "A sender MUST NOT apply the chunked transfer coding more than once".
  return last === "chunked" && codings.length > 0 &&
      codings.every((coding) => /^(?:x-)?(?:gzip|compress|deflate)$/.test(coding))
    ? "unsupported"
    : "invalid";
}
