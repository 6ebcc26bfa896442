/**
 * What is known of methods.
 *
 * @module
 */

/** RFC 9110, section 9.2.2; TRACE is left out, for backends rarely serve it as it says. */
const IDEMPOTENT: ReadonlySet<string> = new Set(["GET", "HEAD", "PUT", "DELETE", "OPTIONS"]);

/** Whether a request may be made twice and mean the same as once. */
export function isIdempotent(method: string): boolean {
  return IDEMPOTENT.has(method);
}
