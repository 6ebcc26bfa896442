/**
 * What a raw path means, for matching: routes must see it as a backend will, or a route that demands
 * something could be bypassed by spelling its path in another way.
 *
 * @module
 */

/** Spellings that need a second look: escapes, empty segments, segments that begin with a dot. */
const SUSPICIOUS = /%|\/\/|\/\./;
/** RFC 3986, section 2.3: escaping one of these changes nothing, so they are compared unescaped. */
const UNRESERVED = /[A-Za-z0-9\-._~]/;
/** A dot segment, with separators that some servers unescape before they look for one. */
const DOT_SEGMENT = /(?:^|\/|%2f|\\|%5c)\.\.?(?:$|\/|%2f|\\|%5c)/i;

/**
 * The path with unreserved characters unescaped (RFC 3986, section 6.2.2.2) and empty segments merged, as
 * most servers do; `undefined` when it has dot segments (section 6.2.2.3), which clients resolve before they
 * send and only attackers leave in.
 */
export function normalizePath(path: string): string | undefined {
  if (!SUSPICIOUS.test(path)) return path;
  const unescaped = path.replace(/%([0-9A-Fa-f]{2})/g, (escape, hex: string) => {
    const character = String.fromCharCode(parseInt(hex, 16));
    return UNRESERVED.test(character) ? character : escape;
  });
  if (DOT_SEGMENT.test(unescaped)) return undefined;
  return unescaped.replace(/\/{2,}/g, "/");
}
