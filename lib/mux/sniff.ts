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
