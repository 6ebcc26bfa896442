/**
 * Which bytes may stand where in an HTTP/1.1 head, as tables.
 *
 * @module
 */

function table(allowed: (byte: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => allowed(byte) ? 1 : 0);
}

const alphanumeric = (byte: number) => /[0-9A-Za-z]/.test(String.fromCharCode(byte));

/** RFC 9110, section 5.6.2: `tchar`, of which methods and field names are made. */
export const TOKEN: Uint8Array = table((b) =>
  alphanumeric(b) || "!#$%&'*+-.^_`|~".includes(String.fromCharCode(b))
);

/**
 * What may stand in a field value: RFC 9110, section 5.5, `VCHAR`, `obs-text`, SP and HTAB. All
 * other control bytes are refused, of which CR, LF and NUL must be.
 */
export const FIELD_VALUE: Uint8Array = table((b) => b === 0x09 || (b >= 0x20 && b !== 0x7f));

/**
 * What may stand in a request target: visible ASCII without `#`, for a fragment is never sent
 * (RFC 9112, section 3.2). Wider than RFC 3986, since clients send `|` or `"` as they are.
 */
export const TARGET: Uint8Array = table((b) => b > 0x20 && b < 0x7f && b !== 0x23);

/** What may stand in a host name; stricter than `reg-name`, none of whose other bytes name a real host. */
export const HOST: Uint8Array = table((b) =>
  alphanumeric(b) || b === 0x2d || b === 0x2e || b === 0x5f
);

/** The value of a hexadecimal digit, or 255. */
export const HEX: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) => {
  const value = parseInt(String.fromCharCode(byte), 16);
  return Number.isNaN(value) ? 255 : value;
});

/** Horizontal tab. */
export const HTAB = 0x09;
/** Line feed. */
export const LF = 0x0a;
/** Carriage return. */
export const CR = 0x0d;
/** Space. */
export const SP = 0x20;
/** `:` */
export const COLON = 0x3a;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The bytes of a text that is ASCII. */
export function ascii(text: string): Uint8Array {
  return encoder.encode(text);
}

/** The bytes of a text whose characters are bytes (ISO 8859-1), as field values are read. */
export function latin1(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/**
 * The text of `bytes[start..end)`, one character for each byte (ISO 8859-1), so that what is not
 * ASCII survives a round trip unchanged.
 */
export function decodeLatin1(bytes: Uint8Array, start: number, end: number): string {
  for (let i = start; i < end; i++) {
    if (bytes[i]! >= 0x80) {
      let text = "";
      for (let j = start; j < end; j++) text += String.fromCharCode(bytes[j]!);
      return text;
    }
  }
  return decoder.decode(bytes.subarray(start, end));
}
