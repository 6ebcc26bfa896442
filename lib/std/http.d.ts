/** The part of `@std/http` that this project uses, declared because the npm build ships no types. */

/** Status code by name, e.g. `STATUS_CODE.NotFound` is 404. */
export const STATUS_CODE: Readonly<Record<string, number>>;
/** Reason phrase by status code, e.g. `STATUS_TEXT[404]` is "Not Found". */
export const STATUS_TEXT: Readonly<Record<number, string>>;
