/**
 * The small languages of a route's conditions: paths, hosts, tokens, gRPC names and regular expressions.
 * Each is parsed strictly, so that a mistake is refused where it is made instead of never matching.
 *
 * @module
 */

import { parseIp } from "../common/address.ts";

/** Longest path of a condition or a rewrite, in characters. */
export const MAX_PATH = 1024;
/** Longest regular expression, in bytes of UTF-8. */
export const MAX_REGEX = 1024;
/** How much of a refused value a message repeats, in UTF-16 code units. */
const MAX_QUOTE = 120;

/** RFC 9110, section 5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** Visible ASCII without what ends a path; the same bytes that the HTTP/1.1 parser lets through. */
const PATH = /^[\x21\x22\x24-\x3e\x40-\x7e]+$/;
const NAMED_SEGMENT = /^:[A-Za-z_]\w*$/;
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
/** RFC 1035, section 2.3.4, as text. */
const MAX_HOST = 253;
/** Full names of Protocol Buffers: identifiers joined by dots. */
const SERVICE = /^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*$/;
const METHOD = /^[A-Za-z_]\w*$/;
/** Methods in the registry of RFC 9110, section 16.1.1, that a person may have meant by other letters. */
const COMMON_METHODS = new Set(
  ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"],
);

const encoder = new TextEncoder();

/** A path prefix or pattern, cut into segments. */
export interface PathPattern {
  /** The pattern in its normal form: without a slash at the end, except for `/` itself. */
  readonly text: string;
  /** What each segment must be; `undefined` for any one that is not empty. */
  readonly segments: readonly (string | undefined)[];
  /** Whether more segments may follow. */
  readonly open: boolean;
}

/** Throws a `TypeError` that names what was refused, the value, why, and what is accepted. */
export function refuse(what: string, value: unknown, problem: string, accepted: string): never {
  throw new TypeError(`${what} ${quote(value)}: ${problem}; accepted is ${accepted}`);
}

/** A value as a message shows it. */
export function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > MAX_QUOTE ? `${text.slice(0, MAX_QUOTE)}…` : text;
}

/**
 * Parses the path of a prefix condition. Without a named segment it stands for itself and all that
 * lies below; a final `/*` says the same in so many words. With a named segment (`/users/:id`) it
 * stands for the whole path, unless a final `/*` opens it. A slash at the end makes no difference.
 *
 * @throws {TypeError} for anything else, and for empty, `.` and `..` segments, which clients resolve
 *   before they send a path.
 */
export function parsePathPattern(text: string): PathPattern {
  const accepted =
    "a prefix such as /api, or a pattern such as /users/:id or /static/*, of at most " +
    `${MAX_PATH} visible ASCII characters without ? and #`;
  checkPath("path", text, accepted);
  const normal = text.length > 1 && text.endsWith("/") ? text.slice(0, -1) : text;
  const parts = text === "/" ? [] : normal.slice(1).split("/");
  const star = parts.at(-1) === "*";
  if (star) parts.pop();
  const segments = parts.map((part) => {
    if (part === "") refuse("path", text, "it has an empty segment", accepted);
    if (part === "." || part === "..") refuse("path", text, "it has a dot segment", accepted);
    if (part.includes("*")) {
      refuse("path", text, '"*" must be the whole last segment', `${accepted}; or a path regex`);
    }
    if (!part.startsWith(":")) return part;
    if (!NAMED_SEGMENT.test(part)) {
      refuse("path", text, `${quote(part)} is no named segment such as ":id"`, accepted);
    }
    return undefined;
  });
  return { text: normal, segments, open: star || !segments.includes(undefined) };
}

/** Parses the path of an exact condition: any path as it is sent, or `*` (RFC 9112, section 3.2.4). */
export function parseExactPath(text: string): string {
  if (text === "*") return text;
  checkPath("exact path", text, `"*", or "/" and at most ${MAX_PATH - 1} visible ASCII characters`);
  return text;
}

/**
 * Parses a path that a request or a location gets.
 *
 * @throws {TypeError} if it does not begin with one slash. Two slashes, or a slash and a backslash,
 *   would be read as the begin of a host where a reference is relative (RFC 3986, section 4.2).
 */
export function parseNewPath(what: string, text: string): string {
  const accepted = `a path such as /v2 of at most ${MAX_PATH} visible ASCII characters`;
  checkPath(what, text, accepted);
  if (/^\/[/\\]/.test(text)) refuse(what, text, "it begins like a host", accepted);
  return text;
}

function checkPath(what: string, text: unknown, accepted: string): asserts text is string {
  if (typeof text !== "string") refuse(what, text, "it is no text", accepted);
  if (!text.startsWith("/")) refuse(what, text, 'it does not begin with "/"', accepted);
  if (text.length > MAX_PATH) refuse(what, text, `it has ${text.length} characters`, accepted);
  if (!PATH.test(text)) {
    refuse(what, text, "it has a character that a path cannot have (write it as %XX)", accepted);
  }
}

/**
 * Parses a host condition: a name, `*.` before a name for one or more labels in front, or an IP
 * address, IPv6 in brackets. The result is in lower case, without a dot at the end.
 */
export function parseHostPattern(text: string, what = "host"): string {
  const accepted = "a host without port such as example.com, *.example.com, 192.0.2.1 or [::1]";
  if (typeof text !== "string") refuse(what, text, "it is no text", accepted);
  const lower = text.toLowerCase().replace(/\.$/, "");
  if (lower.startsWith("[")) {
    const ip = lower.endsWith("]") ? parseIp(lower.slice(1, -1)) : undefined;
    if (ip?.kind() !== "ipv6") refuse(what, text, "it is no IPv6 address", accepted);
    return `[${ip.toString()}]`;
  }
  if (/\P{ASCII}/u.test(lower)) {
    refuse(what, text, "it is not ASCII (write it in the xn-- form of IDNA)", accepted);
  }
  if (/:\d*$/.test(lower)) refuse(what, text, "it has a port", accepted);
  const name = lower.startsWith("*.") ? lower.slice(2) : lower;
  if (name.includes("*")) {
    refuse(what, text, '"*" must be the whole first label, before a name', accepted);
  }
  if (name.length > MAX_HOST) refuse(what, text, `it has ${name.length} characters`, accepted);
  for (const label of name.split(".")) {
    if (!LABEL.test(label)) {
      refuse(what, text, `the label ${quote(label)} is no host label`, accepted);
    }
  }
  return lower;
}

/** Parses a host with an optional port, as it stands in a Host field or a location; in lower case. */
export function parseAuthority(what: string, text: string): string {
  const accepted = "a host with or without a port, such as example.com or example.com:8443";
  if (typeof text !== "string") refuse(what, text, "it is no text", accepted);
  const [, host, port] = /^(.*?)(?::(\d{1,5}))?$/s.exec(text) ?? [];
  if (host === undefined || host.startsWith("*")) {
    refuse(what, text, "it names no single host", accepted);
  }
  if (port !== undefined && (Number(port) < 1 || Number(port) > 65535)) {
    refuse(what, text, "the port is not 1 to 65535", accepted);
  }
  const normal = parseHostPattern(host, what);
  return port === undefined ? normal : `${normal}:${Number(port)}`;
}

/** Parses a field name (RFC 9110, section 5.1); the result is in lower case. */
export function parseFieldName(what: string, text: string): string {
  if (typeof text !== "string" || !TOKEN.test(text)) {
    refuse(what, text, "it is no field name", "letters, digits and any of !#$%&'*+-.^_`|~");
  }
  return text.toLowerCase();
}

/**
 * Parses a field value (RFC 9110, section 5.5); white space around it is no part of it and removed.
 * Only ASCII is accepted, for nothing says how a peer reads the other bytes.
 */
export function parseFieldValue(what: string, text: string): string {
  const accepted = "visible ASCII, spaces and tabs";
  if (typeof text !== "string") refuse(what, text, "it is no text", accepted);
  if (/[\r\n\0]/.test(text)) refuse(what, text, "it has CR, LF or NUL", accepted);
  if (!/^[\t\x20-\x7e]*$/.test(text)) {
    refuse(what, text, "it has a character that a field value cannot have", accepted);
  }
  return text.replace(/^[\t ]+|[\t ]+$/g, "");
}

/** Parses an HTTP method (RFC 9110, section 9.1); methods are case-sensitive. */
export function parseHttpMethod(text: string): string {
  const accepted = "a method such as GET";
  if (typeof text !== "string" || !TOKEN.test(text)) {
    refuse("HTTP method", text, "it is no token", accepted);
  }
  const upper = text.toUpperCase();
  if (text !== upper && COMMON_METHODS.has(upper)) {
    refuse("HTTP method", text, "methods are case-sensitive", `${quote(upper)} here`);
  }
  return text;
}

/** Parses the full name of a gRPC service. */
export function parseServiceName(text: string): string {
  if (typeof text !== "string" || !SERVICE.test(text)) {
    refuse("gRPC service", text, "it is no full service name", "a name such as pkg.v1.Users");
  }
  return text;
}

/** Parses the name of a gRPC method. */
export function parseMethodName(text: string): string {
  if (typeof text !== "string" || !METHOD.test(text)) {
    refuse("gRPC method", text, "it is no method name", "a name such as Login, without service");
  }
  return text;
}

/** Parses `/service/Method` or `service/Method`; the result has the slash in front. */
export function parseFullMethod(text: string): string {
  const parts = typeof text === "string" ? text.replace(/^\//, "").split("/") : [];
  const [service, method] = parts;
  if (
    parts.length !== 2 || !SERVICE.test(service ?? "") || !METHOD.test(method ?? "")
  ) {
    refuse("gRPC full method", text, "it is no service and method", "/pkg.v1.Users/Login");
  }
  return `/${service}/${method}`;
}

/**
 * Compiles a regular expression (ECMAScript) that must match a whole value. It has the `v` flag, or the
 * `u` flag if only that accepts it: with `v`, the `/` of `[^/]` would have to be escaped.
 *
 * ECMAScript expressions backtrack: one such as `(a+)+` takes exponential time on some values. They
 * come from who runs the balancer, never from a client.
 *
 * @throws {TypeError} if it is empty, has more than {@linkcode MAX_REGEX} bytes, or does not compile.
 */
export function compileRegex(source: string): RegExp {
  const accepted = `an ECMAScript expression with the v or u flag of 1 to ${MAX_REGEX} bytes`;
  if (typeof source !== "string") refuse("regex", source, "it is no text", accepted);
  if (source === "") refuse("regex", source, "it is empty", accepted);
  const bytes = encoder.encode(source).length;
  if (bytes > MAX_REGEX) refuse("regex", source, `it has ${bytes} bytes`, accepted);
  let reason = "";
  for (const flag of ["v", "u"]) {
    try {
      // Alone first: `a)|(b` would become valid, and no longer anchored, inside the group.
      new RegExp(source, flag);
      return new RegExp(`^(?:${source})$`, flag);
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
    }
  }
  // V8 repeats the expression before the reason: `Invalid regular expression: /(/u: Unterminated group`.
  return refuse("regex", source, reason.replace(/^.*\/u: /s, ""), accepted);
}

/**
 * The source of a `RegExp` for a route. Its flags `i`, `m` and `s` are written into the expression,
 * the others make no difference to whether a whole value matches.
 */
export function formatRegex(regex: RegExp): string {
  const modifiers = [...regex.flags].filter((flag) => "ims".includes(flag)).join("");
  return modifiers === "" ? regex.source : `(?${modifiers}:${regex.source})`;
}

/**
 * The text that everything which {@linkcode compileRegex} matches by this source begins with, as far as that
 * is plain to see: up to the first operator, nothing if there are alternatives.
 */
export function literalBeginning(source: string, regex: RegExp): string {
  if (hasAlternatives(source, regex.unicodeSets)) return "";
  let literal = "";
  let i = source.startsWith("^") ? 1 : 0;
  while (i < source.length) {
    let char = source[i]!;
    let next = i + 1;
    if (char === "\\") {
      char = source[next++] ?? "";
      // An escaped letter or digit is a class, a reference or a control character.
      if (!/^[!-/:-@[-`{-~]$/.test(char)) break;
    } else if (!/^[^^$.*+?()[\]{}|\P{ASCII}]$/u.test(char)) {
      break;
    }
    const quantifier = source[next] ?? "";
    if (quantifier === "+") return literal + char;
    if (quantifier !== "" && "*?{".includes(quantifier)) break;
    literal += char;
    i = next;
  }
  return literal;
}

/** Whether a `|` stands outside all groups and classes; `nested` says whether classes can be nested. */
function hasAlternatives(source: string, nested: boolean): boolean {
  let groups = 0;
  let classes = 0;
  for (let i = 0; i < source.length; i++) {
    const char = source[i];
    if (char === "\\") i++;
    else if (char === "[") classes = nested ? classes + 1 : 1;
    else if (char === "]") classes--;
    else if (classes > 0) continue;
    else if (char === "(") groups++;
    else if (char === ")") groups--;
    else if (char === "|" && groups === 0) return true;
  }
  return false;
}
