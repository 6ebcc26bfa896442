/**
 * The head of an HTTP/1.1 response from a backend.
 *
 * @module
 */
import { ascii, CR, FIELD_VALUE, LF, SP } from "./chars.ts";
import { readConnection } from "./connection_field.ts";
import { FieldTable, INCOMPLETE, Known, REFUSED } from "./fields.ts";
import { type Framing, NO_BODY, parseContentLength, parseTransferEncoding } from "./framing.ts";
import { DEFAULT_HEAD_LIMITS, type HeadLimits } from "./limits.ts";

const NONE: readonly string[] = [];
const HTTP1 = ascii("HTTP/1.");
const CLOSE: Framing = { type: "close" };
const CHUNKED: Framing = { type: "chunked" };

/**
 * One response head. The same object is used again and again: what it says is valid until the next
 * {@linkcode ResponseHead.parse} and only while the bytes stay in the buffer.
 */
export class ResponseHead {
  readonly #limits: HeadLimits;
  /** The fields. */
  readonly fields: FieldTable;
  /** What the parser found wrong, for the log; every refusal is the code `upstream_protocol`. */
  detail = "";
  /** Minor version: 0 or 1. */
  minor = 1;
  /** The status code, from 100 to 599. */
  status = 0;
  /** How the body is framed. */
  framing: Framing = NO_BODY;
  /** Whether the connection may carry another request once the body has been read. */
  keepAlive = true;
  /** Whether `Connection: upgrade` and an Upgrade field are there, as a 101 must have. */
  upgrade = false;
  /** The tokens of Connection that name fields, in lower case; they end at this hop. */
  nominated: readonly string[] = NONE;
  /** Where the reason phrase begins in the buffer. */
  reasonStart = 0;
  /** The index behind the reason phrase. */
  reasonEnd = 0;

  /** Makes a head that takes what `limits` allow. */
  constructor(limits: HeadLimits = DEFAULT_HEAD_LIMITS) {
    this.#limits = limits;
    this.fields = new FieldTable(limits);
  }

  /**
   * Parses the head at `buffer[start..end)`, the answer to a request of which `noBody` says that its
   * answers have none (HEAD).
   *
   * @returns The index behind the head, {@linkcode INCOMPLETE} or {@linkcode REFUSED}.
   */
  parse(buffer: Uint8Array, start: number, end: number, noBody: boolean): number {
    this.fields.reset(buffer, start);
    const line = this.#parseStatusLine(buffer, start, end);
    if (line < 0) return line;
    const next = this.fields.parse(line, end);
    if (next === REFUSED) return this.#refuse("field line");
    if (next < 0) return next;
    return this.#interpret(noBody) ? next : REFUSED;
  }

  #refuse(detail: string): number {
    this.detail = detail;
    return REFUSED;
  }

  #deny(detail: string): false {
    this.detail = detail;
    return false;
  }

  // RFC 9112, section 4: status-line = HTTP-version SP status-code SP [ reason-phrase ]
  #parseStatusLine(buffer: Uint8Array, start: number, end: number): number {
    let i = start;
    for (let k = 0; k < 12; k++, i++) {
      if (i >= end) return INCOMPLETE;
      const byte = buffer[i]!;
      const right = k < 7
        ? byte === HTTP1[k]
        : k === 8
        ? byte === SP
        : byte >= 0x30 && byte <= 0x39;
      if (!right) return this.#refuse("status line");
    }
    this.minor = buffer[start + 7] === 0x30 ? 0 : 1;
    this.status = (buffer[start + 9]! - 0x30) * 100 + (buffer[start + 10]! - 0x30) * 10 +
      (buffer[start + 11]! - 0x30);
    if (this.status < 100 || this.status > 599) return this.#refuse("status code");
    if (i >= end) return INCOMPLETE;
    // The space behind the code is due even without a reason; many servers leave both out.
    if (buffer[i] === SP) i++;
    else if (buffer[i] !== CR) return this.#refuse("status line");
    this.reasonStart = i;
    const limit = Math.min(end, start + this.#limits.maxRequestLine + 1);
    while (i < limit && FIELD_VALUE[buffer[i]!] === 1) i++;
    if (i >= limit) return i === end ? INCOMPLETE : this.#refuse("status line too long");
    this.reasonEnd = i;
    if (buffer[i] !== CR) return this.#refuse("status line");
    if (i + 1 >= end) return INCOMPLETE;
    return buffer[i + 1] === LF ? i + 2 : this.#refuse("status line");
  }

  #interpret(noBody: boolean): boolean {
    const { fields } = this;
    this.nominated = NONE;
    this.upgrade = false;
    this.keepAlive = this.minor > 0;
    const options = readConnection(fields);
    if (options !== undefined) {
      this.keepAlive = !options.close && (this.minor > 0 || options.keepAlive);
      this.nominated = options.nominated;
      this.upgrade = options.upgrade && fields.has(Known.Upgrade) > 0;
    }
    return this.#frame(noBody);
  }

  // RFC 9112, section 6.3, in its order.
  #frame(noBody: boolean): boolean {
    const { fields, status } = this;
    const lengths = fields.has(Known.ContentLength);
    // "If a message is received without Transfer-Encoding and with an invalid Content-Length header
    // field, then the message framing is invalid": for a proxy a 502, even where no body follows.
    const length = lengths === 1
      ? parseContentLength(fields, fields.find(Known.ContentLength))
      : undefined;
    if (lengths > 1 || (lengths === 1 && (length === undefined || length === Infinity))) {
      return this.#deny("Content-Length");
    }
    const coded = fields.has(Known.TransferEncoding) > 0;
    if (coded && parseTransferEncoding(fields) !== "chunked") {
      return this.#deny("Transfer-Encoding");
    }
    if (noBody || status < 200 || status === 204 || status === 304) {
      this.framing = NO_BODY;
      // Neither field may stand in a 204 (RFC 9110, section 8.6): the content that they announce may come.
      if (status === 204 && (coded || (length !== undefined && length > 0))) this.keepAlive = false;
      return true;
    }
    if (coded) {
      // "Transfer-Encoding overrides the Content-Length", but the connection is not used again; nor
      // after HTTP/1.0, which has no chunked (section 6.1).
      if (lengths > 0 || this.minor === 0) this.keepAlive = false;
      this.framing = CHUNKED;
    } else if (length !== undefined) {
      this.framing = length === 0 ? NO_BODY : { type: "length", length };
    } else {
      this.framing = CLOSE;
      this.keepAlive = false;
    }
    return true;
  }
}
