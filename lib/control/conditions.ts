/**
 * The conditions with which a backend registers itself, as part of a route.
 *
 * @module
 */

import {
  parseFieldName,
  parseFieldValue,
  parseFullMethod,
  parseMethodName,
  parsePathPattern,
  parseServiceName,
} from "../route/pattern.ts";
import type { PathMatch, RouteMatch, ValueMatch } from "../route/route.ts";
import { checkField, ManagementError } from "./management_error.ts";

/** Values by name; several values for one name are alternatives. */
export type ValuesByName = Readonly<Record<string, string | readonly string[]>>;

/**
 * Which requests a backend is for. Kinds that are given must all hold, and so must all names within
 * headers, parameters and metadata; the values of one kind or name are alternatives.
 */
export interface Conditions {
  /** gRPC services with their package, e.g. `myapp.UserService`. */
  readonly services?: readonly string[];
  /** gRPC methods without service, e.g. `Login`. */
  readonly methods?: readonly string[];
  /** gRPC methods with their service, e.g. `/myapp.UserService/Login`. */
  readonly full_methods?: readonly string[];
  /** gRPC metadata by key. */
  readonly grpc_headers?: ValuesByName;
  /** Path prefixes or patterns, e.g. `/api/v2` or `/users/:id`. */
  readonly paths?: readonly string[];
  /** Header fields by name. */
  readonly headers?: ValuesByName;
  /** Query parameters by name, decoded. */
  readonly params?: ValuesByName;
}

/**
 * The conditions as a route has them; `undefined` when there is none.
 *
 * @throws {ManagementError} `invalid_argument` with the field that is wrong.
 */
export function parseConditions(conditions: Conditions): RouteMatch | undefined {
  const { services, methods, full_methods, grpc_headers, paths, headers, params } = conditions;
  const match: { [K in keyof RouteMatch]: readonly unknown[] | undefined } = {
    services: parseList("services", services, parseServiceName),
    methods: parseList("methods", methods, parseMethodName),
    fullMethods: parseList("full_methods", full_methods, parseFullMethod),
    grpcHeaders: parseFields("grpc_headers", grpc_headers),
    paths: parseList("paths", paths, parsePrefix),
    headers: parseFields("headers", headers),
    params: parseValues("params", params, parseParamName, (value) => value),
  };
  const given = Object.entries(match).filter(([, values]) => values !== undefined);
  return given.length === 0 ? undefined : Object.fromEntries(given);
}

function parseList<T>(
  field: string,
  values: readonly string[] | undefined,
  parse: (value: string) => T,
): T[] | undefined {
  if (values === undefined || values.length === 0) return undefined;
  return values.map((value, index) => checkField(`${field}[${index}]`, () => parse(value)));
}

function parsePrefix(path: string): PathMatch {
  return { type: "prefix", value: parsePathPattern(path).text };
}

function parseFields(
  field: string,
  values: ValuesByName | undefined,
): ValueMatch[] | undefined {
  return parseValues(
    field,
    values,
    (name) => parseFieldName("name", name),
    (value) => parseFieldValue("value", value),
  );
}

function parseParamName(name: string): string {
  if (name === "") throw new TypeError('name "": it is empty; accepted is a name after decoding');
  return name;
}

function parseValues(
  field: string,
  values: ValuesByName | undefined,
  parseName: (name: string) => string,
  parseValue: (value: string) => string,
): ValueMatch[] | undefined {
  const entries = Object.entries(values ?? {});
  if (entries.length === 0) return undefined;
  return entries.flatMap(([key, value]) => {
    const name = checkField(field, () => parseName(key));
    const alternatives = typeof value === "string" ? [value] : value;
    // Passed over, a name without values would make the route match more than was meant.
    if (alternatives.length === 0) {
      throw new ManagementError(
        "invalid_argument",
        "the list is empty; accepted is at least one value",
        `${field}.${key}`,
      );
    }
    return alternatives.map((text): ValueMatch => ({
      name,
      type: "exact",
      value: checkField(`${field}.${key}`, () => parseValue(text)),
    }));
  });
}
