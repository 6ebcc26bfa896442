/**
 * The version of lb.
 *
 * @module
 */

/** The version, the same as in `deno.json`: a library or a compiled program has no file to read it from. */
export const VERSION = "0.1.0";
