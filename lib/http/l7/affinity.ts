/**
 * What requests have in common that are to meet the same backend.
 *
 * @module
 */
import { hashText } from "../../strategy/hash.ts";
import type { RequestView } from "../message.ts";

/** What a request is hashed by. */
export type HashBy =
  /** The client's address, without its port. */
  | { readonly type: "address" }
  /** The raw path, without the query. */
  | { readonly type: "path" }
  /** A header field or metadata key; its name in lower case. */
  | { readonly type: "header"; readonly name: string }
  /** A cookie. */
  | { readonly type: "cookie"; readonly name: string };

const TOKEN = /^[!#$%&'*+\-.^_`|~\dA-Za-z]+$/;

/**
 * Parses `address`, `path`, `header:NAME`, `metadata:NAME` or `cookie:NAME`.
 *
 * @throws {TypeError} When it is anything else.
 */
export function parseHashBy(text: string): HashBy {
  if (text === "address" || text === "path") return { type: text };
  const colon = text.indexOf(":");
  const kind = text.slice(0, Math.max(colon, 0));
  const name = text.slice(colon + 1);
  if (TOKEN.test(name)) {
    if (kind === "header" || kind === "metadata") {
      return { type: "header", name: name.toLowerCase() };
    }
    if (kind === "cookie") return { type: "cookie", name };
  }
  throw new TypeError(
    `hash by ${JSON.stringify(text)} is not accepted; accepted is address, path, header:NAME, ` +
      "metadata:NAME or cookie:NAME",
  );
}

/** The key of a request; `undefined` when it does not have what is asked for, so that chance decides. */
export type KeyReader = (view: RequestView, client: string) => number | undefined;

/** Makes what reads the keys. */
export function makeKeyReader(by: HashBy): KeyReader {
  switch (by.type) {
    case "address":
      return (_, client) => hashText(client);
    case "path":
      return ({ path }) => hashText(path);
    case "header": {
      const { name } = by;
      return (view) => hashIfAny(view.header(name));
    }
    case "cookie": {
      const { name } = by;
      return (view) => hashIfAny(readCookie(view.header("cookie"), name));
    }
  }
}

function hashIfAny(text: string | undefined): number | undefined {
  return text === undefined || text === "" ? undefined : hashText(text);
}

/**
 * The value of a cookie as it stands in the field Cookie (RFC 6265, section 5.4): the first of that name, without the
 * quotes that may be around it. Several lines of the field may have been joined by commas instead of semicolons.
 */
export function readCookie(field: string | undefined, name: string): string | undefined {
  if (field === undefined) return undefined;
  for (const pair of field.split(/[;,]/)) {
    const equals = pair.indexOf("=");
    if (equals < 0 || pair.slice(0, equals).trim() !== name) continue;
    const value = pair.slice(equals + 1).trim();
    return value.length > 1 && value.startsWith('"') && value.endsWith('"')
      ? value.slice(1, -1)
      : value;
  }
  return undefined;
}
