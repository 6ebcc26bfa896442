/**
 * Tells by the first bytes of a connection what it is for. Pure: bytes in, verdict out.
 *
 * @module
 */

/** What the first bytes say: it is, it is not, or more bytes are needed to know. */
export type Sniffed = "yes" | "no" | "more";

const METHODS = ["POST", "GET", "DELETE", "PATCH", "PUT", "HEAD", "OPTIONS"];
/** Paths of the management API; those with children may be followed by `/`. */
const PATHS: readonly (readonly [path: string, children: boolean])[] = [
  ["/lb/add", false],
  ["/lb/backends", true],
  ["/lb/routes", true],
];

/** What may follow a path: the end of the target, or a query. */
const ENDS = " ?";

/** Everything that a management request can begin with, up to the byte that settles it. */
const BEGINNINGS: readonly string[] = METHODS.flatMap((method) =>
  PATHS.flatMap(([path, children]) =>
    [...ENDS, ...(children ? ["/"] : [])].map((end) => `${method} ${path}${end}`)
  )
);

/** Whether a connection that begins with `bytes[0..length)` is a call of the management API. */
export function sniffManagement(bytes: Uint8Array, length: number): Sniffed {
  let possible = false;
  next: for (const beginning of BEGINNINGS) {
    const compared = Math.min(length, beginning.length);
    for (let i = 0; i < compared; i++) {
      if (bytes[i] !== beginning.charCodeAt(i)) continue next;
    }
    if (length >= beginning.length) return "yes";
    possible = true;
  }
  return possible ? "more" : "no";
}

const SP = 0x20;
const CRLF = "\r\n";
/** Up to this many empty lines may stand before a request line (RFC 9112, section 2.2). */
const MAX_EMPTY_LINES = 2;
/** Bytes of a method: RFC 9110, section 5.6.2, `token`. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]*$/;
/** Methods whose bare name is enough, so that a malformed target is answered and not met with silence. */
const KNOWN: ReadonlySet<string> = new Set([...METHODS, "CONNECT", "TRACE"]);

/**
 * Whether `bytes[0..length)` may begin an HTTP/1 request: a method, a space and a target (RFC 9112, section
 * 3), empty lines before it allowed. What is neither that nor HTTP/2 would not understand an answer either.
 */
export function sniffHttp1(bytes: Uint8Array, length: number): Sniffed {
  let start = 0;
  for (let i = 0; i < MAX_EMPTY_LINES * CRLF.length && i < length; i++) {
    if (bytes[i] !== CRLF.charCodeAt(i % CRLF.length)) break;
    start = i + 1;
  }
  if (start === length) return "more";
  if (start % CRLF.length > 0) return "no";
  const space = bytes.subarray(0, length).indexOf(SP);
  const method = String.fromCharCode(...bytes.subarray(start, space < 0 ? length : space));
  if (!TOKEN.test(method)) return "no";
  if (space < 0) return "more";
  if (method === "") return "no";
  if (KNOWN.has(method)) return "yes";
  if (space + 1 === length) return "more";
  // Section 3.2: origin-form, asterisk-form or absolute-form; authority-form is for CONNECT only.
  return "/*hH".includes(String.fromCharCode(bytes[space + 1]!)) ? "yes" : "no";
}
