/**
 * What a strict HTTP/1.1 parser must say, written as grammar: regular expressions over the whole text, so
 * that it shares neither code nor way of working with the parsers under test.
 *
 * @module
 */

const TOKEN = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+";
const FIELD_LINE = `${TOKEN}:[\\t\\x20-\\x7e\\x80-\\xff]*\\r\\n`;
const REQUEST = new RegExp(
  `^(?:\\r\\n){0,2}(${TOKEN}) ([\\x21\\x22\\x24-\\x7e]+) HTTP/1\\.(\\d)\\r\\n((?:${FIELD_LINE})*)\\r\\n`,
);
const RESPONSE = new RegExp(
  `^HTTP/1\\.(\\d) ([1-5]\\d\\d)(?: ([\\t\\x20-\\x7e\\x80-\\xff]*))?\\r\\n((?:${FIELD_LINE})*)\\r\\n`,
);
const AUTHORITY = /^(?:\[[0-9A-Fa-f:.]{2,}\]|[0-9A-Za-z._-]+)(?::(\d*))?$/;

/** A field as name in lower case and value. */
export type Field = readonly [name: string, value: string];

/** How a body is framed, as text: `none`, `chunked`, `close` or its length in digits. */
export type ReferenceFraming = string;

/** What a request head says. */
export interface ReferenceRequest {
  readonly method: string;
  /** Path and query as they are forwarded. */
  readonly target: string;
  readonly authority: string;
  readonly minor: number;
  readonly fields: readonly Field[];
  readonly framing: ReferenceFraming;
  /** The fields that are forwarded as they came, with the case of their names. */
  readonly endToEnd: readonly Field[];
  /** The index behind the head. */
  readonly end: number;
}

/** What a response head says. */
export interface ReferenceResponse {
  readonly status: number;
  readonly reason: string;
  readonly minor: number;
  readonly fields: readonly Field[];
  readonly framing: ReferenceFraming;
  readonly endToEnd: readonly Field[];
  readonly end: number;
}

function readFields(text: string): { fields: Field[]; spelt: Field[] } {
  const fields: Field[] = [];
  const spelt: Field[] = [];
  for (const line of text.split("\r\n").slice(0, -1)) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon);
    const value = line.slice(colon + 1).replace(/^[\t ]+|[\t ]+$/g, "");
    fields.push([name.toLowerCase(), value]);
    spelt.push([name, value]);
  }
  return { fields, spelt };
}

function valuesOf(fields: readonly Field[], name: string): string[] {
  return fields.filter(([other]) => other === name).map(([, value]) => value);
}

function isAuthority(text: string): boolean {
  const port = AUTHORITY.exec(text);
  return port !== null && Number(port[1] ?? "0") <= 65535;
}

/** Fields that end at a hop whatever Connection says. */
const HOP_BY_HOP = ["connection", "keep-alive", "proxy-connection", "te", "upgrade"];

function withoutHops(spelt: readonly Field[], fields: readonly Field[], more: string[]): Field[] {
  const nominated = valuesOf(fields, "connection").join(",").split(",")
    .map((option) => option.replace(/^[\t ]+|[\t ]+$/g, "").toLowerCase());
  const gone = new Set([
    ...HOP_BY_HOP,
    "content-length",
    "transfer-encoding",
    ...more,
    ...nominated,
  ]);
  return spelt.filter(([name]) => !gone.has(name.toLowerCase()));
}

/** Reads a request head; `undefined` when the text does not begin with a whole one that is accepted. */
export function readRequest(text: string): ReferenceRequest | undefined {
  const match = REQUEST.exec(text);
  if (match === null) return undefined;
  const [whole, method = "", sent = "", digit = "", block = ""] = match;
  if (method.length > 32 || method === "CONNECT" || method === "TRACE") return undefined;
  const minor = Math.min(Number(digit), 1);
  const { fields, spelt } = readFields(block);
  const hosts = valuesOf(fields, "host");
  if (hosts.length > 1 || (hosts.length === 0 && minor > 0)) return undefined;
  if (hosts.length === 1 && !isAuthority(hosts[0]!)) return undefined;
  let authority = hosts[0] ?? "";
  let target = sent;
  if (sent === "*") {
    if (method !== "OPTIONS") return undefined;
  } else if (!sent.startsWith("/")) {
    const uri = /^https?:\/\/([^/?]*)(.*)$/i.exec(sent);
    if (uri === null || !isAuthority(uri[1]!)) return undefined;
    authority = uri[1]!;
    target = uri[2] === "" ? method === "OPTIONS" ? "*" : "/" : uri[2]!.replace(/^\?/, "/?");
  }
  const framing = requestFraming(fields, minor);
  if (framing === undefined) return undefined;
  const expect = valuesOf(fields, "expect");
  if (expect.length > 0 && expect.join(", ").toLowerCase() !== "100-continue") return undefined;
  const endToEnd = withoutHops(spelt, fields, ["host", "expect", "http2-settings"]);
  return { method, target, authority, minor, fields, framing, endToEnd, end: whole.length };
}

function requestFraming(fields: readonly Field[], minor: number): ReferenceFraming | undefined {
  const codings = valuesOf(fields, "transfer-encoding");
  const lengths = valuesOf(fields, "content-length");
  if (codings.length > 0) {
    const plain = codings.length === 1 && codings[0]!.toLowerCase() === "chunked";
    return plain && lengths.length === 0 && minor > 0 ? "chunked" : undefined;
  }
  if (lengths.length === 0) return "none";
  return readLength(lengths);
}

function readLength(lengths: readonly string[]): string | undefined {
  if (lengths.length !== 1 || !/^\d+$/.test(lengths[0]!)) return undefined;
  const length = BigInt(lengths[0]!);
  return length > BigInt(Number.MAX_SAFE_INTEGER) ? undefined : String(length);
}

/** Reads a response head; `undefined` when the text does not begin with a whole one that is accepted. */
export function readResponse(text: string, noBody: boolean): ReferenceResponse | undefined {
  const match = RESPONSE.exec(text);
  if (match === null) return undefined;
  const [whole, digit = "", code = "", reason = "", block = ""] = match;
  const status = Number(code);
  const { fields, spelt } = readFields(block);
  const codings = valuesOf(fields, "transfer-encoding");
  const lengths = valuesOf(fields, "content-length");
  let framing: ReferenceFraming | undefined = "close";
  if (lengths.length > 0) framing = readLength(lengths);
  if (framing === undefined) return undefined;
  if (codings.length > 0) {
    if (codings.length > 1 || codings[0]!.toLowerCase() !== "chunked") return undefined;
    framing = "chunked";
  }
  if (noBody || status < 200 || status === 204 || status === 304 || framing === "0") {
    framing = "none";
  }
  return {
    status,
    reason,
    minor: Math.min(Number(digit), 1),
    fields,
    framing,
    endToEnd: withoutHops(spelt, fields, []),
    end: whole.length,
  };
}

/** A chunked body: its content, its trailers as they are passed on and the index behind it. */
export interface ReferenceBody {
  readonly content: string;
  readonly trailers: string;
  readonly end: number;
}

const CHUNK_LINE = new RegExp(
  `^([0-9A-Fa-f]{1,16})(?:;${TOKEN}[\\t\\x20-\\x7e\\x80-\\xff]*)?\\r\\n`,
);
const TRAILERS = new RegExp(`^((?:${FIELD_LINE})*)\\r\\n`);

/** Names that must not come as trailers and are dropped: framing, routing, authentication, content. */
const NO_TRAILERS = new Set([
  ..."authorization cache-control connection content-encoding content-length".split(" "),
  ..."content-range content-type cookie expect forwarded host http2-settings".split(" "),
  ..."keep-alive max-forwards proxy-authenticate proxy-authorization".split(" "),
  ..."proxy-connection set-cookie te trailer transfer-encoding upgrade via".split(" "),
  ..."www-authenticate x-forwarded-for x-forwarded-host x-forwarded-proto".split(" "),
  "x-request-id",
]);

/** Reads a chunked body; `undefined` when the text does not begin with a whole valid one. */
export function readChunked(text: string): ReferenceBody | undefined {
  let rest = text;
  let content = "";
  for (;;) {
    const line = CHUNK_LINE.exec(rest);
    if (line === null) return undefined;
    const size = parseInt(line[1]!, 16);
    rest = rest.slice(line[0].length);
    if (size === 0) break;
    if (size > Number.MAX_SAFE_INTEGER || rest.slice(size, size + 2) !== "\r\n") return undefined;
    content += rest.slice(0, size);
    rest = rest.slice(size + 2);
  }
  const section = TRAILERS.exec(rest);
  if (section === null) return undefined;
  const { fields, spelt } = readFields(section[1]!);
  const trailers = spelt.filter((_, i) => !NO_TRAILERS.has(fields[i]![0]))
    .map(([name, value]) => `${name}: ${value}\r\n`).join("");
  return { content, trailers, end: text.length - rest.length + section[0].length };
}
