/**
 * JSON as somebody else wrote it, with what could be read in two ways refused.
 *
 * @module
 */

/** A string, perhaps with the colon that makes it a name, or a bracket, in text that is valid JSON. */
const TOKEN = /("[^"\\]*(?:\\.[^"\\]*)*")([\t\n\r ]*:)?|[{}[\]]/g;

/** How deep objects and lists may be nested; what walks through a value by recursion can rely on it. */
const MAX_DEPTH = 64;

/**
 * Parses JSON as `JSON.parse` does, but refuses an object that has a name twice: readers differ on which
 * of the values counts (RFC 8259, section 4). The name `__proto__` is refused too, because code that copies
 * objects loses it, and a condition must not get lost.
 *
 * @throws {SyntaxError} when it is no JSON, has such a name, or is nested more than 64 deep.
 *
 * @example
 * ```ts
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * assertEquals(parseJson('{"port": 80}'), { port: 80 });
 * assertThrows(() => parseJson('{"port": 80, "port": 81}'), SyntaxError, '"port" is there twice');
 * ```
 */
export function parseJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  const open: (Set<string> | undefined)[] = [];
  for (const [token, quoted, colon] of text.matchAll(TOKEN)) {
    if (token === "{") open.push(new Set());
    else if (token === "[") open.push(undefined);
    else if (token === "}" || token === "]") open.pop();
    else if (quoted !== undefined && colon !== undefined) checkName(open.at(-1), quoted);
    if (open.length > MAX_DEPTH) {
      throw new SyntaxError(`it is nested more than ${MAX_DEPTH} deep`);
    }
  }
  return value;
}

function checkName(names: Set<string> | undefined, quoted: string): void {
  // Written in another way, e.g. with `\u0061` for `a`, it is the same name.
  const name: string = JSON.parse(quoted);
  if (name === "__proto__") throw new SyntaxError('the name "__proto__" is not accepted');
  if (names?.has(name)) throw new SyntaxError(`the name ${quoted} is there twice in one object`);
  names?.add(name);
}
