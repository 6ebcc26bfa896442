/**
 * The head of an HTTP/2 request, interpreted from its decoded fields: RFC 9113, section 8.
 *
 * @module
 */
import type { ErrorCode } from "../../common/errors.ts";
import { ascii, decodeLatin1, TARGET, TOKEN } from "../h1/chars.ts";
import type { RequestView } from "../message.ts";
import { hostEnd, isAuthority, sameAuthority } from "../authority.ts";
import {
  findBadField,
  isGrpcType,
  isGrpcTypeText,
  isPseudo,
  parseContentLength,
  Rule,
  RULES,
  startsWith,
} from "./headers.ts";
import { type FieldLimits, FieldList } from "./hpack/field_list.ts";
import { knownNameId, LAST_PSEUDO } from "./hpack/names.ts";
import { TextCache } from "./text_cache.ts";

/**
 * What a request head is.
 *
 * - `ok`.
 * - `malformed`: a stream error, PROTOCOL_ERROR (RFC 9113, section 8.1.1). It must not be forwarded.
 * - `refused`: it is answered with the status that `error` stands for.
 */
export type HeadVerdict = "ok" | "malformed" | "refused";

const AUTHORITY = knownNameId(":authority");
const CONTENT_TYPE = knownNameId("content-type");
const METHOD = knownNameId(":method");
const PATH = knownNameId(":path");
const SCHEME = knownNameId(":scheme");
const STATUS = knownNameId(":status");

const SP = 0x20;
const QUESTION = 0x3f;
const SLASH = 0x2f;
const STAR = 0x2a;

/** The longest method; longer ones are answered 501 (RFC 9110, section 15.6.2). */
const MAX_METHOD = 32;
const TRAILERS = ascii("trailers");
/** No field. */
const NONE = -1;

/** Methods, paths and hosts of all connections. */
const texts = new TextCache();

function equals(bytes: Uint8Array, start: number, end: number, text: Uint8Array): boolean {
  if (end - start !== text.length) return false;
  for (let i = 0; i < text.length; i++) if (bytes[start + i] !== text[i]) return false;
  return true;
}

const HTTP = ascii("http");
const HTTPS = ascii("https");

/**
 * One request head. Use: put a block into `fields` and decode it, then {@linkcode interpret}. The same
 * object can be used again and again; what it says is valid until its fields change.
 */
export class H2RequestHead implements RequestView {
  /** All fields; the pseudo-fields come first. */
  readonly fields: FieldList;
  /** Why the head is not `ok`. */
  error: ErrorCode = "bad_field";
  /** What is wrong, for the log. */
  detail = "";
  /** How many pseudo-fields there are. */
  pseudoCount = 0;
  /** The value of Content-Length, or -1 when there is none. */
  contentLength: number = -1;
  /** Whether `te: trailers` is there; gRPC demands it to be passed on. */
  trailers = false;
  /** Whether the scheme is `https`. */
  secure = false;
  grpc = false;

  /** The generation of the fields that were last found `ok`. */
  #judged = NONE;
  /** Index of each pseudo-field, by the number of its name. */
  readonly #pseudo = new Int32Array(LAST_PSEUDO + 1);
  /** Index of the only `host`. */
  #hostField = NONE;
  #hostCount = 0;
  #hasType = false;
  #method: string | undefined;
  #path: string | undefined;
  #host: string | undefined;
  #queryStart = 0;

  /** Makes a head that takes what `limits` allow. */
  constructor(limits?: FieldLimits) {
    this.fields = new FieldList(limits);
  }

  /**
   * Judges the decoded fields as a request (RFC 9113, sections 8.2 and 8.3).
   *
   * @param endStream Whether the stream ends with them, so that there is no body.
   */
  interpret(endStream: boolean): HeadVerdict {
    const { names, count, generation } = this.fields;
    // The same fields as last time: all that was found then still holds.
    if (generation === this.#judged && (!endStream || this.contentLength <= 0)) return "ok";
    this.#method = this.#path = this.#host = undefined;
    this.pseudoCount = this.#hostCount = 0;
    this.contentLength = this.#hostField = NONE;
    this.trailers = this.grpc = this.#hasType = false;
    this.#pseudo.fill(NONE);
    const bad = findBadField(this.fields);
    if (bad !== undefined) return this.#malformed("bad_field", bad);
    for (let i = 0; i < count; i++) {
      const id = names[i]!;
      const rule = RULES[id]!;
      if (isPseudo(id)) {
        if (!this.#addPseudo(id, i)) return "malformed";
      } else if (rule !== Rule.None && !this.#addRuled(rule, i)) return "malformed";
    }
    const verdict = this.#checkMethod();
    if (verdict !== "ok") return verdict;
    const length = this.#checkLength(endStream);
    if (length === "ok") this.#judged = generation;
    return length;
  }

  /**
   * Takes fields that were too large or too many (the verdict `too_large` of the decoder) in place of
   * {@linkcode interpret}: no more is known of them than how to answer, an `error` and whether it is `grpc`.
   */
  refuseTooLarge(): void {
    const { fields } = this;
    const { maxListSize, maxFields } = fields.limits;
    this.#refused("head_too_large", `more than ${maxFields} fields or ${maxListSize} bytes`);
    this.#judged = NONE;
    const index = fields.find(CONTENT_TYPE);
    this.grpc = index >= 0 ? isGrpcType(fields, index) : isGrpcTypeText(fields.lateType ?? "");
  }

  #malformed(error: ErrorCode, detail: string): "malformed" {
    this.error = error;
    this.detail = detail;
    return "malformed";
  }

  #refused(error: ErrorCode, detail: string): "refused" {
    this.error = error;
    this.detail = detail;
    return "refused";
  }

  /** RFC 9113, section 8.3: known, once, and before all other fields. */
  #addPseudo(id: number, index: number): boolean {
    const { fields } = this;
    if (id === STATUS) this.#malformed("bad_field", ":status in a request");
    else if (index !== this.pseudoCount) {
      this.#malformed("bad_field", `${fields.name(index)} behind other fields`);
    } else if (this.#pseudo[id] !== NONE) {
      this.#malformed("bad_field", `more than one ${fields.name(index)}`);
    } else {
      this.#pseudo[id] = index;
      this.pseudoCount = index + 1;
      return true;
    }
    return false;
  }

  #addRuled(rule: number, index: number): boolean {
    const { fields } = this;
    switch (rule) {
      case Rule.ConnectionSpecific:
        this.#malformed("bad_field", fields.name(index));
        return false;
      case Rule.Te: {
        // RFC 9113, section 8.2.2: "it MUST NOT contain any value other than "trailers"".
        const start = fields.valueStart(index);
        this.trailers = fields.valueEnd(index) - start === TRAILERS.length &&
          startsWith(fields.bytes, start, TRAILERS);
        if (!this.trailers) this.#malformed("bad_field", "te other than trailers");
        return this.trailers;
      }
      case Rule.ContentLength: {
        const length = parseContentLength(fields, index);
        // RFC 9110, section 8.6 allows to merge equal values; two are refused, for others may not.
        if (length < 0 || this.contentLength >= 0) {
          this.#malformed("bad_framing", length < 0 ? "Content-Length" : "two Content-Length");
          return false;
        }
        this.contentLength = length;
        return true;
      }
      case Rule.Host:
        this.#hostCount++;
        this.#hostField = index;
        return true;
      default: // the content type; the first counts, as in a joined value
        if (!this.#hasType) this.grpc = isGrpcType(fields, index);
        this.#hasType = true;
        return true;
    }
  }

  #checkMethod(): HeadVerdict {
    const index = this.#pseudo[METHOD]!;
    if (index === NONE) return this.#malformed("bad_request_line", "no :method");
    const { bytes } = this.fields;
    const start = this.methodStart;
    const end = this.methodEnd;
    let i = start;
    while (i < end && TOKEN[bytes[i]!] === 1) i++;
    if (i < end || start === end) return this.#malformed("bad_request_line", ":method");
    if (end - start > MAX_METHOD) {
      return this.#refused("method_not_implemented", "method too long");
    }
    // A tunnel to anywhere and an echo of credentials are no business of a gateway
    // (RFC 9110, sections 9.3.6 and 9.3.8). CONNECT has no path, so it is judged before that.
    const length = end - start;
    if ((length === 7 && this.method === "CONNECT") || (length === 5 && this.method === "TRACE")) {
      return this.#refused("method_not_allowed", this.method);
    }
    return this.#checkTarget();
  }

  #checkTarget(): HeadVerdict {
    const { fields } = this;
    const { bytes } = fields;
    const scheme = this.#pseudo[SCHEME]!;
    if (scheme === NONE) return this.#malformed("bad_target", "no :scheme");
    const start = fields.valueStart(scheme);
    const end = fields.valueEnd(scheme);
    this.secure = equals(bytes, start, end, HTTPS);
    if (!this.secure && !equals(bytes, start, end, HTTP)) {
      return this.#malformed("bad_target", ":scheme is neither http nor https");
    }
    if (this.#pseudo[PATH] === NONE) return this.#malformed("bad_target", "no :path");
    const path = this.targetStart;
    const pathEnd = this.targetEnd;
    if (path === pathEnd) return this.#malformed("bad_target", "empty :path");
    this.#queryStart = pathEnd;
    for (let i = path; i < pathEnd; i++) {
      const byte = bytes[i]!;
      if (TARGET[byte] === 0) {
        // RFC 9113, section 10.3: a space would end the target of a request line.
        return byte === SP
          ? this.#malformed("bad_target", "space in :path")
          : this.#refused("bad_target", ":path");
      }
      if (byte === QUESTION && this.#queryStart === pathEnd) this.#queryStart = i;
    }
    const star = bytes[path] === STAR && pathEnd - path === 1;
    if (star ? this.method !== "OPTIONS" : bytes[path] !== SLASH) {
      return this.#refused("bad_target", star ? "* is for OPTIONS only" : ":path without /");
    }
    return this.#checkAuthority();
  }

  #checkAuthority(): HeadVerdict {
    const { fields } = this;
    if (this.#hostCount > 1) return this.#refused("bad_host", "more than one host");
    const authority = this.#pseudo[AUTHORITY]!;
    const host = this.#hostField;
    if (authority === NONE && host === NONE) return this.#refused("bad_host", "no :authority");
    if (!isAuthority(fields.bytes, this.authorityStart, this.authorityEnd)) {
      return this.#refused("bad_host", authority === NONE ? "host" : ":authority");
    }
    if (authority === NONE || host === NONE) return "ok";
    // RFC 9113, section 8.3.1: "A server SHOULD treat a request as malformed if it contains a Host header
    // field that identifies an entity that differs from the entity in the ":authority"".
    const other = { start: fields.valueStart(host), end: fields.valueEnd(host) };
    const same = isAuthority(fields.bytes, other.start, other.end) && sameAuthority(
      fields.bytes,
      { start: this.authorityStart, end: this.authorityEnd },
      other,
      this.secure,
    );
    return same ? "ok" : this.#refused("bad_host", "host differs from :authority");
  }

  #checkLength(endStream: boolean): HeadVerdict {
    // RFC 9113, section 8.1.1: malformed if Content-Length "does not equal the sum of the DATA frame
    // payload lengths".
    if (endStream && this.contentLength > 0) {
      return this.#malformed("bad_framing", "Content-Length without a body");
    }
    if (this.contentLength === Infinity) return this.#refused("body_too_large", "Content-Length");
    return "ok";
  }

  get method(): string {
    return this.#method ??= texts.get(this.fields.bytes, this.methodStart, this.methodEnd);
  }

  /** Path and query as they came. */
  get target(): string {
    return decodeLatin1(this.fields.bytes, this.targetStart, this.targetEnd);
  }

  get path(): string {
    return this.#path ??= texts.get(this.fields.bytes, this.targetStart, this.#queryStart);
  }

  get query(): string {
    if (this.#queryStart >= this.targetEnd) return "";
    return decodeLatin1(this.fields.bytes, this.#queryStart + 1, this.targetEnd);
  }

  get host(): string {
    if (this.#host === undefined) {
      const { bytes } = this.fields;
      const start = this.authorityStart;
      const end = hostEnd(bytes, start, this.authorityEnd);
      this.#host = texts.get(bytes, start, end).toLowerCase();
    }
    return this.#host;
  }

  /** Host and port as the client named them. */
  get authority(): string {
    return texts.get(this.fields.bytes, this.authorityStart, this.authorityEnd);
  }

  /** `host` is also answered from `:authority`; pseudo-fields are no fields. */
  header(name: string): string | undefined {
    if (name.startsWith(":")) return undefined;
    const value = this.fields.get(name);
    return value === undefined && name === "host" ? this.authority : value;
  }

  /** Whether `:authority` is there; if not, the authority is that of `host`, and `:authority` must be made. */
  get hasAuthority(): boolean {
    return this.#pseudo[AUTHORITY] !== NONE;
  }

  /** Where the method begins in the bytes of the fields. */
  get methodStart(): number {
    return this.fields.valueStart(this.#pseudo[METHOD]!);
  }

  /** The index behind the method. */
  get methodEnd(): number {
    return this.fields.valueEnd(this.#pseudo[METHOD]!);
  }

  /** Where path and query begin in the bytes of the fields. */
  get targetStart(): number {
    return this.fields.valueStart(this.#pseudo[PATH]!);
  }

  /** The index behind path and query. */
  get targetEnd(): number {
    return this.fields.valueEnd(this.#pseudo[PATH]!);
  }

  get #authorityField(): number {
    const index = this.#pseudo[AUTHORITY]!;
    return index === NONE ? this.#hostField : index;
  }

  /** Where the authority begins in the bytes of the fields. */
  get authorityStart(): number {
    return this.fields.valueStart(this.#authorityField);
  }

  /** The index behind the authority. */
  get authorityEnd(): number {
    return this.fields.valueEnd(this.#authorityField);
  }
}
