/**
 * What a backend says of trying again: gRFC A6, Pushback.
 *
 * @module
 */
import type { FieldList } from "../../http/h2/hpack/field_list.ts";

const NAME = "grpc-retry-pushback-ms";
/** A signed 32-bit number. */
const NUMBER = /^-?\d{1,10}$/;

/**
 * Milliseconds after which a call may be tried again, negative for never; `undefined` when nothing is said. gRFC A6:
 * "If the value for pushback is negative or unparseable, then it will be seen as the server asking the client not to
 * retry at all."
 */
export function readPushback(fields: FieldList): number | undefined {
  const value = fields.get(NAME);
  if (value === undefined) return undefined;
  return NUMBER.test(value) ? Number(value) : -1;
}
