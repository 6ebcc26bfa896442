/**
 * The head of an HTTP/1.1 request: parsed strictly, kept as offsets.
 *
 * What is ambiguous is refused, never repaired, for every repair is one that a backend may make in
 * another way.
 *
 * @module
 */
import type { ErrorCode } from "../../common/errors.ts";
import { isAuthority } from "../authority.ts";
import type { RequestView } from "../message.ts";
import { ascii, CR, decodeLatin1, LF, SP, TARGET, TOKEN } from "./chars.ts";
import { readConnection } from "./connection_field.ts";
import { FieldTable, INCOMPLETE, Known, REFUSED } from "./fields.ts";
import { type Framing, NO_BODY, parseContentLength, parseTransferEncoding } from "./framing.ts";
import { DEFAULT_HEAD_LIMITS, type HeadLimits } from "./limits.ts";

/** The longest method; longer ones are answered 501 (RFC 9110, section 15.6.2). */
const MAX_METHOD = 32;
const NONE: readonly string[] = [];
const HTTP_NAME = ascii("HTTP/");
/** `HTTP/1.1`, which follows the target and a space. */
const VERSION_LENGTH = 8;
const SLASH = 0x2f;
const QUESTION = 0x3f;
const STAR = 0x2a;
const CONTENT_TYPE = ascii("content-type");

/** Up to this many empty lines before the request line are skipped (RFC 9112, section 2.2). */
const MAX_LEADING_LINES = 2;

/**
 * One request head. The same object is used again and again: what it says is valid until the next
 * {@linkcode RequestHead.parse} and only while the bytes stay in the buffer.
 */
export class RequestHead implements RequestView {
  readonly #limits: HeadLimits;
  /** The fields. */
  readonly fields: FieldTable;
  /** Why the last parse refused the head. */
  error: ErrorCode = "bad_request_line";
  /** What the parser found wrong, for the log. */
  detail = "";
  /** Minor version: 0 or 1. A higher one is treated as 1 (RFC 9110, section 2.5). */
  minor = 1;
  /** How the body is framed. */
  framing: Framing = NO_BODY;
  /** Whether the client lets the connection stay open (RFC 9112, section 9.3). */
  keepAlive = true;
  /** Whether the client waits for `100 Continue` before it sends the body. */
  expectContinue = false;
  /** Whether the client offers to switch to another protocol that may be passed on. */
  upgrade = false;
  /** The tokens of Connection that name fields, in lower case; they end at this hop. */
  nominated: readonly string[] = NONE;

  #methodStart = 0;
  #methodEnd = 0;
  /** Path and query within the buffer, `*`, or empty for an absolute target without a path. */
  #pathStart = 0;
  #queryStart = 0;
  #targetEnd = 0;
  /** The authority that counts: that of an absolute target, else that of Host. */
  #authorityStart = 0;
  #authorityEnd = 0;
  #method: string | undefined;
  #path: string | undefined;
  #host: string | undefined;

  /** Makes a head that takes what `limits` allow. */
  constructor(limits: HeadLimits = DEFAULT_HEAD_LIMITS) {
    this.#limits = limits;
    this.fields = new FieldTable(limits);
  }

  /**
   * Parses the head at `buffer[start..end)`. Bytes are judged from left to right, so the verdict does
   * not depend on how they arrive.
   *
   * @returns The index behind the head, {@linkcode INCOMPLETE} when more bytes are needed, or
   * {@linkcode REFUSED}, and `error` says why.
   */
  parse(buffer: Uint8Array, start: number, end: number): number {
    this.#method = this.#path = this.#host = undefined;
    let base = start;
    for (let lines = 0; base < end && buffer[base] === CR; lines++) {
      if (lines === MAX_LEADING_LINES) {
        return this.#refuse("bad_request_line", "too many empty lines");
      }
      if (base + 1 >= end) return INCOMPLETE;
      if (buffer[base + 1] !== LF) return this.#refuse("bad_request_line", "bare CR");
      base += 2;
    }
    this.fields.reset(buffer, base);
    const line = this.#parseRequestLine(buffer, base, end);
    if (line < 0) return line;
    const next = this.fields.parse(line, end);
    if (next === REFUSED) return this.#refuse(this.fields.error, "field line");
    if (next < 0) return next;
    return this.#interpret() ? next : REFUSED;
  }

  #refuse(error: ErrorCode, detail: string): number {
    this.error = error;
    this.detail = detail;
    return REFUSED;
  }

  // RFC 9112, section 3: request-line = method SP request-target SP HTTP-version
  #parseRequestLine(buffer: Uint8Array, base: number, end: number): number {
    const limit = Math.min(end, base + this.#limits.maxRequestLine - VERSION_LENGTH);
    let i = base;
    const methodLimit = Math.min(limit, base + MAX_METHOD + 1);
    while (i < methodLimit && TOKEN[buffer[i]!] === 1) i++;
    if (i >= limit) return this.#short(i, end);
    if (i - base > MAX_METHOD) return this.#refuse("method_not_implemented", "method too long");
    if (i === base || buffer[i] !== SP) return this.#refuse("bad_request_line", "method");
    this.#methodStart = base;
    this.#methodEnd = i++;
    const target = i;
    let query = -1;
    while (i < limit && TARGET[buffer[i]!] === 1) {
      if (query < 0 && buffer[i] === QUESTION) query = i;
      i++;
    }
    if (i >= limit) return this.#short(i, end);
    if (i === target || buffer[i] !== SP) return this.#refuse("bad_request_line", "request target");
    this.#pathStart = target;
    this.#targetEnd = i++;
    this.#queryStart = query < 0 ? this.#targetEnd : query;
    // Exactly `HTTP/` DIGIT `.` DIGIT CRLF: ten bytes, judged one by one.
    for (let k = 0; k < 10; k++, i++) {
      if (i >= end) return INCOMPLETE;
      const byte = buffer[i]!;
      const right = k < 5
        ? byte === HTTP_NAME[k]
        : k === 6
        ? byte === 0x2e
        : k === 8
        ? byte === CR
        : k === 9
        ? byte === LF
        : byte >= 0x30 && byte <= 0x39;
      if (!right) return this.#refuse("bad_request_line", "HTTP version");
    }
    if (buffer[i - 5] !== 0x31) return this.#refuse("bad_version", "major version");
    this.minor = buffer[i - 3] === 0x30 ? 0 : 1;
    return i;
  }

  #short(i: number, end: number): number {
    return i === end ? INCOMPLETE : this.#refuse("line_too_long", "request line too long");
  }

  /** What the fields mean together; `false` when they are refused. */
  #interpret(): boolean {
    return this.#checkTarget() && this.#checkFraming() && this.#checkConnection();
  }

  #checkTarget(): boolean {
    const { fields } = this;
    const { buffer } = fields;
    // RFC 9112, section 3.2: "A server MUST respond with a 400 (Bad Request) status code to any
    // HTTP/1.1 request message that lacks a Host header field and to any request message that
    // contains more than one Host header field line or a Host header field with an invalid field value."
    const hosts = fields.has(Known.Host);
    if (hosts > 1 || (hosts === 0 && this.minor > 0)) {
      return this.#deny("bad_host", hosts === 0 ? "no Host" : "more than one Host");
    }
    this.#authorityStart = this.#authorityEnd = 0;
    if (hosts === 1) {
      const slot = fields.find(Known.Host) * 4;
      const start = fields.base + fields.offsets[slot + 2]!;
      const end = fields.base + fields.offsets[slot + 3]!;
      if (!isAuthority(buffer, start, end)) return this.#deny("bad_host", "invalid Host");
      this.#authorityStart = start;
      this.#authorityEnd = end;
    }
    const first = buffer[this.#pathStart];
    if (first === SLASH) return this.#checkMethod();
    if (first === STAR && this.#targetEnd - this.#pathStart === 1) {
      if (this.method !== "OPTIONS") return this.#deny("bad_target", "* is for OPTIONS only");
      return this.#checkMethod();
    }
    if (this.method === "CONNECT") return this.#deny("method_not_allowed", "CONNECT");
    const authority = absoluteAuthority(buffer, this.#pathStart, this.#targetEnd);
    if (authority < 0) return this.#deny("bad_target", "neither a path nor an http URI");
    let i = authority;
    while (i < this.#targetEnd && buffer[i] !== SLASH && buffer[i] !== QUESTION) i++;
    if (!isAuthority(buffer, authority, i)) return this.#deny("bad_target", "authority of the URI");
    // RFC 9112, section 3.2.2: "When an origin server receives a request with an absolute-form of
    // request-target, the origin server MUST ignore the received Host header field (if any) and
    // instead use the host information of the request-target."
    this.#authorityStart = authority;
    this.#authorityEnd = i;
    this.#pathStart = i;
    return this.#checkMethod();
  }

  #checkMethod(): boolean {
    const length = this.#methodEnd - this.#methodStart;
    // A tunnel to anywhere and an echo of credentials are no business of a gateway
    // (RFC 9110, sections 9.3.6 and 9.3.8).
    if (length === 7 && this.method === "CONNECT") {
      return this.#deny("method_not_allowed", "CONNECT");
    }
    if (length === 5 && this.method === "TRACE") return this.#deny("method_not_allowed", "TRACE");
    return true;
  }

  #checkFraming(): boolean {
    const { fields } = this;
    const lengths = fields.has(Known.ContentLength);
    if (fields.has(Known.TransferEncoding) > 0) {
      // RFC 9112, section 6.1: "A server or client that receives an HTTP/1.0 message containing a
      // Transfer-Encoding header field MUST treat the message as if the framing is faulty".
      if (this.minor === 0) return this.#deny("bad_framing", "Transfer-Encoding in HTTP/1.0");
      // Section 6.3: such a message "might indicate an attempt to perform request smuggling".
      if (lengths > 0) return this.#deny("bad_framing", "Content-Length and Transfer-Encoding");
      const coding = parseTransferEncoding(fields);
      if (coding === "unsupported") return this.#deny("unsupported_coding", "transfer coding");
      if (coding === "invalid") return this.#deny("bad_framing", "Transfer-Encoding");
      this.framing = { type: "chunked" };
      return true;
    }
    if (lengths === 0) {
      this.framing = NO_BODY;
      return true;
    }
    // RFC 9110, section 8.6 allows to merge equal values; two are refused, for others may not.
    if (lengths > 1) return this.#deny("bad_framing", "more than one Content-Length");
    const length = parseContentLength(fields, fields.find(Known.ContentLength));
    if (length === undefined) return this.#deny("bad_framing", "Content-Length");
    if (length > Number.MAX_SAFE_INTEGER) return this.#deny("body_too_large", "Content-Length");
    this.framing = { type: "length", length };
    return true;
  }

  #checkConnection(): boolean {
    const { fields } = this;
    this.nominated = NONE;
    this.keepAlive = this.minor > 0;
    let upgrade = false;
    const options = readConnection(fields);
    if (options !== undefined) {
      // RFC 9112, section 9.3: close wins, then the version, then keep-alive for HTTP/1.0.
      this.keepAlive = !options.close && (this.minor > 0 || options.keepAlive);
      this.nominated = options.nominated;
      upgrade = options.upgrade;
    }
    this.upgrade = upgrade && this.#mayUpgrade();
    this.expectContinue = false;
    const expect = fields.joined(Known.Expect);
    if (expect !== undefined) {
      // RFC 9110, section 10.1.1: 417 for what is not understood.
      if (expect.toLowerCase() !== "100-continue") return this.#deny("bad_expect", "Expect");
      // "A server that receives a 100-continue expectation in an HTTP/1.0 request MUST ignore that
      // expectation."
      this.expectContinue = this.minor > 0 && this.framing.type !== "none";
    }
    return true;
  }

  #mayUpgrade(): boolean {
    // RFC 9110, section 7.8: "A server MUST ignore an Upgrade header field that is received in an
    // HTTP/1.0 request." With a body, what follows could be taken for either protocol.
    if (this.minor === 0 || this.framing.type !== "none" || this.expectContinue) return false;
    const protocols = this.fields.joined(Known.Upgrade);
    if (protocols === undefined || protocols === "") return false;
    // RFC 9113, section 3.1 takes h2c upgrades out of use; passing one on would hide requests from us.
    return !protocols.split(",").some((name) => /^[ \t]*h2c[ \t]*$/i.test(name));
  }

  #deny(error: ErrorCode, detail: string): false {
    this.#refuse(error, detail);
    return false;
  }

  /** The method as sent. */
  get method(): string {
    return this.#method ??= knownMethod(this.fields.buffer, this.#methodStart, this.#methodEnd);
  }

  /** Path and query as they are forwarded; `/` for an absolute target that has no path. */
  get target(): string {
    const { buffer } = this.fields;
    return this.targetPrefix + decodeLatin1(buffer, this.#pathStart, this.#targetEnd);
  }

  /** Index of the first byte of the target that is forwarded as it came. */
  get targetStart(): number {
    return this.#pathStart;
  }

  /** The index behind the target. */
  get targetEnd(): number {
    return this.#targetEnd;
  }

  /**
   * What stands before the bytes of an absolute target whose path is empty. RFC 9112, section 3.2.1:
   * "If the target URI's path component is empty, the client MUST send "/" as the path".
   */
  get targetPrefix(): string {
    const first = this.fields.buffer[this.#pathStart];
    if (this.#pathStart === this.#targetEnd) return this.method === "OPTIONS" ? "*" : "/";
    return first === QUESTION ? "/" : "";
  }

  /** Whether the bytes of the target begin with `prefix`. */
  isUnder(prefix: Uint8Array): boolean {
    const { buffer } = this.fields;
    if (this.#targetEnd - this.#pathStart < prefix.length) return false;
    for (let i = 0; i < prefix.length; i++) {
      if (buffer[this.#pathStart + i] !== prefix[i]) return false;
    }
    return true;
  }

  get path(): string {
    return this.#path ??= this.targetPrefix +
      decodeLatin1(this.fields.buffer, this.#pathStart, this.#queryStart);
  }

  get query(): string {
    if (this.#queryStart >= this.#targetEnd) return "";
    return decodeLatin1(this.fields.buffer, this.#queryStart + 1, this.#targetEnd);
  }

  /** Host and port as the client named them; empty when it named none. */
  get authority(): string {
    return decodeLatin1(this.fields.buffer, this.#authorityStart, this.#authorityEnd);
  }

  /** Where the bytes of the authority lie; empty when there is none. */
  get authorityStart(): number {
    return this.#authorityStart;
  }

  /** The index behind the authority. */
  get authorityEnd(): number {
    return this.#authorityEnd;
  }

  get host(): string {
    return this.#host ??= this.authority.toLowerCase().replace(/:\d*$/, "");
  }

  get grpc(): boolean {
    const type = this.fields.get(CONTENT_TYPE);
    return type !== undefined && /^application\/grpc(?:$|[+;\s])/i.test(type);
  }

  header(name: string): string | undefined {
    return this.fields.get(ascii(name));
  }

  /** Where the bytes of the method lie. */
  get methodStart(): number {
    return this.#methodStart;
  }

  /** The index behind the method. */
  get methodEnd(): number {
    return this.#methodEnd;
  }
}

/** The methods that nearly all requests have, so that they need no decoding. */
const METHODS: readonly (readonly [text: string, bytes: Uint8Array])[] = [
  "GET",
  "POST",
  "HEAD",
  "PUT",
  "DELETE",
  "PATCH",
  "OPTIONS",
].map((name) => [name, ascii(name)]);

function knownMethod(buffer: Uint8Array, start: number, end: number): string {
  next: for (const [text, bytes] of METHODS) {
    if (bytes.length !== end - start) continue;
    for (let i = 0; i < bytes.length; i++) if (buffer[start + i] !== bytes[i]) continue next;
    return text;
  }
  return decodeLatin1(buffer, start, end);
}

/** The index behind `http://` or `https://`, or -1. */
function absoluteAuthority(buffer: Uint8Array, start: number, end: number): number {
  const text = decodeLatin1(buffer, start, Math.min(end, start + 8)).toLowerCase();
  if (text.startsWith("http://")) return start + 7;
  return text === "https://" ? start + 8 : -1;
}
