/**
 * Query parameters, read as `application/x-www-form-urlencoded` (WHATWG URL, section 5.1).
 *
 * @module
 */

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const PERCENT = 0x25;

/**
 * So many parameters are read, the others of a query are passed over. A route may ask each parameter
 * about many things, so a client must not choose how many there are.
 */
export const MAX_PARAMS = 1000;

/** Parameters in the order in which they stand; the value of `names[i]` is `values[i]`. */
export interface Params {
  readonly names: readonly string[];
  readonly values: readonly string[];
}

/**
 * Parses a query without its `?`. `+` and `%XX` are decoded as UTF-8; a percent sign without two
 * hexadecimal digits stands for itself, and bytes that are no UTF-8 become U+FFFD. Never throws.
 */
export function parseQuery(query: string): Params {
  const names: string[] = [];
  const values: string[] = [];
  const encoded = query.includes("%") || query.includes("+");
  for (let start = 0; start < query.length && names.length < MAX_PARAMS;) {
    let end = query.indexOf("&", start);
    if (end < 0) end = query.length;
    if (end > start) {
      let equals = query.indexOf("=", start);
      if (equals < 0 || equals > end) equals = end;
      const name = query.slice(start, equals);
      const value = query.slice(equals + 1, end);
      names.push(encoded ? decodeComponent(name) : name);
      values.push(encoded ? decodeComponent(value) : value);
    }
    start = end + 1;
  }
  return { names, values };
}

function decodeComponent(text: string): string {
  if (!text.includes("%") && !text.includes("+")) return text;
  const spaced = text.replaceAll("+", " ");
  try {
    return decodeURIComponent(spaced);
  } catch {
    // It throws for what a form leaves as it is: a lone percent sign, or bytes that are no UTF-8.
    return decodeLoosely(spaced);
  }
}

function decodeLoosely(text: string): string {
  const bytes = encoder.encode(text);
  let length = 0;
  for (let i = 0; i < bytes.length; i++) {
    const high = bytes[i] === PERCENT ? hexDigit(bytes[i + 1]) : -1;
    const low = high < 0 ? -1 : hexDigit(bytes[i + 2]);
    if (low < 0) {
      bytes[length++] = bytes[i]!;
    } else {
      bytes[length++] = high * 16 + low;
      i += 2;
    }
  }
  return decoder.decode(bytes.subarray(0, length));
}

/** The value of a hexadecimal digit, or -1. */
function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}
