/**
 * Checks on the shape of a route, whose parts may come as JSON: keys, lists and what may be left out.
 *
 * @module
 */

import { refuse } from "./pattern.ts";

/** Most values that one list of a route may have. */
export const MAX_VALUES = 256;

/** The values parsed and, unless told otherwise, each once; `undefined` if there are none. */
export function list<V>(
  what: string,
  values: readonly V[] | undefined,
  parse: (value: V) => V,
  keepRepeated = false,
): readonly V[] | undefined {
  if (values === undefined) return undefined;
  if (!Array.isArray(values)) refuse(what, values, "it is no list", "a list");
  if (values.length === 0) return undefined;
  if (values.length > MAX_VALUES) {
    refuse(what, `${values.length} values`, "they are too many", `at most ${MAX_VALUES}`);
  }
  const parsed = values.map((value) => parse(value));
  if (keepRepeated) return parsed;
  return [...new Map(parsed.map((value) => [JSON.stringify(value), value])).values()];
}

/** The object without what is not there. */
export function defined<T extends object>(object: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T;
}

/** The value parsed, if there is one. */
export function optional<V, R>(value: V | undefined, parse: (value: V) => R): R | undefined {
  return value === undefined ? undefined : parse(value);
}

/** A misspelt key must not be passed over: the route would match more than it should. */
export function checkKeys(what: string, value: unknown, accepted: readonly string[]): void {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    refuse(what, value, "it is no object", `an object with ${accepted.join(", ")}`);
  }
  for (const [key, own] of Object.entries(value)) {
    if (own !== undefined && !accepted.includes(key)) {
      refuse(what, key, "there is no such key", accepted.join(", "));
    }
  }
}

/** Refuses a tagged value whose tag is not known. */
export function refuseType(
  what: string,
  value: { type: unknown },
  accepted: readonly string[],
): never {
  refuse(`type of the ${what}`, value.type, "it is not known", accepted.join(", "));
}
