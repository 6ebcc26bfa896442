/**
 * The checks on the changes that a route makes to header fields.
 *
 * @module
 */

import { parseAuthority, parseFieldName, parseFieldValue, quote, refuse } from "./pattern.ts";
import type { FieldChanges } from "./route.ts";
import { checkKeys, defined, list } from "./shape.ts";

/**
 * Fields that belong to one connection or say how the message is framed. The proxy writes them
 * itself, so a rule that changed them could split or smuggle messages (RFC 9110, section 7.6.1).
 */
const CONNECTION_FIELDS: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/**
 * Checks changes and returns a normal copy; `undefined` when there is none.
 *
 * @throws {TypeError} that names the value and says what is accepted.
 */
export function validateChanges(
  side: "request" | "response",
  changes: FieldChanges,
): FieldChanges | undefined {
  checkKeys(`${side} header changes`, changes, ["remove", "set", "add"]);
  const normal = defined<FieldChanges>({
    remove: list("remove", changes.remove, (name) => {
      const field = parseChangedName(side, name);
      if (field === "host") refuseHost("it cannot be removed");
      return field;
    }),
    set: list("set", changes.set, (field) => validateChange(side, "set", field), true),
    add: list("add", changes.add, (field) => validateChange(side, "add", field), true),
  });
  const names = new Set<string>();
  for (const [name] of normal.set ?? []) {
    if (names.has(name)) {
      refuse(`${side} header to set`, name, "it is set twice", "one value for it");
    }
    names.add(name);
  }
  return Object.keys(normal).length === 0 ? undefined : normal;
}

function validateChange(
  side: "request" | "response",
  verb: "set" | "add",
  field: readonly [name: string, value: string],
): readonly [name: string, value: string] {
  if (!Array.isArray(field) || field.length !== 2) {
    refuse(`${side} header to ${verb}`, field, "it is no pair", '["name", "value"]');
  }
  const name = parseChangedName(side, field[0]);
  const value = parseFieldValue(`value of ${side} header ${quote(name)}`, field[1]);
  if (name !== "host") return [name, value];
  if (verb === "add") refuseHost("a request has exactly one");
  return [name, parseAuthority("value of request header host", value)];
}

function parseChangedName(side: "request" | "response", text: string): string {
  const name = parseFieldName(`${side} header name`, text);
  if (CONNECTION_FIELDS.has(name)) {
    refuse(
      `${side} header name`,
      text,
      "it frames the message or belongs to one connection, so the proxy writes it itself",
      `any but ${[...CONNECTION_FIELDS].join(", ")}`,
    );
  }
  if (name === "host" && side === "response") refuseHost("a response has none");
  return name;
}

function refuseHost(problem: string): never {
  refuse("header name", "host", problem, "setting it on requests");
}
