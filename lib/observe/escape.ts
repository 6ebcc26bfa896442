/**
 * Escaping for lines of a log. What a peer sent must not be able to end a line, to forge another one
 * or to steer the terminal of whoever reads it (CWE-117, CWE-150).
 *
 * @module
 */

/** Printable ASCII without `"` and `\`: nothing to escape in any of the formats. */
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

/**
 * Characters that are not text: C0 and C1 controls (a terminal acts on both), format characters such
 * as the direction overrides, line and paragraph separators, lone surrogates.
 */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** A value that can stand in `key=value` without quotes: no space, quote, backslash or `=`. */
const BARE = /^[^\s"\\=\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+$/u;

const MNEMONICS: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

function escapeUnsafe(character: string): string {
  const mnemonic = MNEMONICS[character];
  if (mnemonic !== undefined) return mnemonic;
  let escaped = "";
  for (let i = 0; i < character.length; i++) {
    escaped += `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`;
  }
  return escaped;
}

/** The text with every character that is not text written as `\n`, `\r`, `\t` or `\uXXXX`. */
export function escapeControls(text: string): string {
  return PLAIN.test(text) ? text : text.replace(UNSAFE, escapeUnsafe);
}

/**
 * The text as a JSON string (RFC 8259, section 7), quotes included. Escapes more than JSON asks for:
 * everything that {@linkcode escapeControls} does.
 */
export function quoteJson(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : escapeControls(JSON.stringify(text));
}

/** The text for `key=value`: as it is where that is unambiguous, else as {@linkcode quoteJson}. */
export function quoteIfNeeded(text: string): string {
  return BARE.test(text) ? text : quoteJson(text);
}

/** Printable ASCII without space, `"` and `\`. */
const PLAIN_WORD = /^[\x21\x23-\x5b\x5d-\x7e]+$/;

const encoder = new TextEncoder();

function hexByte(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, "0")}`;
}

/**
 * The text as Apache's `mod_log_config` writes it: `\"`, `\\`, and `\xhh` for each byte outside
 * printable ASCII. A character up to U+00FF stands for one byte, as header fields are read; any other
 * one for its UTF-8 bytes.
 */
export function escapeBytes(text: string): string {
  if (PLAIN.test(text)) return text;
  let escaped = "";
  for (const character of text) {
    const code = character.codePointAt(0)!;
    if (code === 0x22 || code === 0x5c) escaped += `\\${character}`;
    else if (code >= 0x20 && code < 0x7f) escaped += character;
    else if (code <= 0xff) escaped += hexByte(code);
    else for (const byte of encoder.encode(character)) escaped += hexByte(byte);
  }
  return escaped;
}

/** {@linkcode escapeBytes} for a field without quotes: spaces are escaped too, nothing gives `-`. */
export function escapeWord(text: string): string {
  if (text === "") return "-";
  return PLAIN_WORD.test(text) ? text : escapeBytes(text).replaceAll(" ", "\\x20");
}
