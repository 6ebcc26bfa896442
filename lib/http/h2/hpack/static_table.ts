/**
 * The static table: RFC 7541, appendix A.
 *
 * @module
 */
import { ascii } from "../../h1/chars.ts";
import { type KnownName, knownNameId, NAME_COUNT, NAME_TEXT } from "./names.ts";

const TABLE: readonly (readonly [name: KnownName, value?: string])[] = [
  [":authority"],
  [":method", "GET"],
  [":method", "POST"],
  [":path", "/"],
  [":path", "/index.html"],
  [":scheme", "http"],
  [":scheme", "https"],
  [":status", "200"],
  [":status", "204"],
  [":status", "206"],
  [":status", "304"],
  [":status", "400"],
  [":status", "404"],
  [":status", "500"],
  ["accept-charset"],
  ["accept-encoding", "gzip, deflate"],
  ["accept-language"],
  ["accept-ranges"],
  ["accept"],
  ["access-control-allow-origin"],
  ["age"],
  ["allow"],
  ["authorization"],
  ["cache-control"],
  ["content-disposition"],
  ["content-encoding"],
  ["content-language"],
  ["content-length"],
  ["content-location"],
  ["content-range"],
  ["content-type"],
  ["cookie"],
  ["date"],
  ["etag"],
  ["expect"],
  ["expires"],
  ["from"],
  ["host"],
  ["if-match"],
  ["if-modified-since"],
  ["if-none-match"],
  ["if-range"],
  ["if-unmodified-since"],
  ["last-modified"],
  ["link"],
  ["location"],
  ["max-forwards"],
  ["proxy-authenticate"],
  ["proxy-authorization"],
  ["range"],
  ["referer"],
  ["refresh"],
  ["retry-after"],
  ["server"],
  ["set-cookie"],
  ["strict-transport-security"],
  ["transfer-encoding"],
  ["user-agent"],
  ["vary"],
  ["via"],
  ["www-authenticate"],
];

/** How many entries the static table has; higher indexes are in the dynamic table. */
export const STATIC_COUNT: number = TABLE.length;

/** The number of the name of each entry, by index; index 0 is not used. */
export const STATIC_NAME: Uint8Array = new Uint8Array(STATIC_COUNT + 1);
/** Where the value of each entry begins in {@linkcode STATIC_TEXT}. */
export const STATIC_VALUE_START: Int32Array = new Int32Array(STATIC_COUNT + 1);
/** The index behind the value of each entry in {@linkcode STATIC_TEXT}. */
export const STATIC_VALUE_END: Int32Array = new Int32Array(STATIC_COUNT + 1);
/** The lowest index that has each name, by number of the name; 0 for names without one. */
export const STATIC_INDEX_OF_NAME: Uint8Array = new Uint8Array(NAME_COUNT);

let values = "";
for (const [position, [name, value = ""]] of TABLE.entries()) {
  const index = position + 1;
  const id = knownNameId(name);
  STATIC_NAME[index] = id;
  if (STATIC_INDEX_OF_NAME[id] === 0) STATIC_INDEX_OF_NAME[id] = index;
  STATIC_VALUE_START[index] = NAME_TEXT.length + values.length;
  values += value;
  STATIC_VALUE_END[index] = NAME_TEXT.length + values.length;
}

/**
 * The bytes of all known names and of the values of the static table. Every field list begins with them, so
 * that a name or value of a field is always a range of its list, wherever it comes from.
 */
export const STATIC_TEXT: Uint8Array = new Uint8Array(NAME_TEXT.length + values.length);
STATIC_TEXT.set(NAME_TEXT);
STATIC_TEXT.set(ascii(values), NAME_TEXT.length);
