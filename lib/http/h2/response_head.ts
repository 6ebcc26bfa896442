/**
 * The head of an HTTP/2 response from a backend: RFC 9113, section 8.
 *
 * @module
 */
import { findBadField, isGrpcType, isPseudo, parseContentLength, Rule, RULES } from "./headers.ts";
import { type FieldLimits, FieldList } from "./hpack/field_list.ts";
import { knownNameId } from "./hpack/names.ts";

const STATUS = knownNameId(":status");

/**
 * One response head, interim or final. Use: put a block into `fields` and decode it, then
 * {@linkcode interpret}. The same object can be used again and again.
 */
export class H2ResponseHead {
  /** All fields; `:status` comes first. */
  readonly fields: FieldList;
  /** What is wrong, for the log; every refusal is the code `upstream_protocol`. */
  detail = "";
  /** The status code, from 100 to 599. */
  status = 0;
  /** The value of Content-Length, or -1 when there is none. */
  contentLength: number = -1;
  /** Whether the content type is `application/grpc` or one of its kin. */
  grpc = false;
  /** The generation of the fields that were last found `ok`. */
  #judged = -1;

  /** Makes a head that takes what `limits` allow. */
  constructor(limits?: FieldLimits) {
    this.fields = new FieldList(limits);
  }

  /** Whether this is an interim response: another one follows (RFC 9110, section 15.2). */
  get interim(): boolean {
    return this.status < 200;
  }

  /**
   * Judges the decoded fields as a response (RFC 9113, sections 8.2 and 8.3). What is malformed must not
   * be forwarded.
   *
   * @param endStream Whether the stream ends with them.
   * @param noBody Whether answers to the request have no body (HEAD).
   */
  interpret(endStream: boolean, noBody: boolean): "ok" | "malformed" {
    const { fields } = this;
    const { names, count, generation } = fields;
    // The same fields as last time: all that was found then still holds.
    if (generation === this.#judged && !endStream) return "ok";
    this.contentLength = -1;
    this.status = 0;
    this.grpc = false;
    const bad = findBadField(fields);
    if (bad !== undefined) return this.#malformed(bad);
    // RFC 9113, section 8.3.2: exactly one pseudo-field, `:status`, and before all other fields.
    if (count === 0 || names[0] !== STATUS) return this.#malformed("no :status at the beginning");
    if (!this.#parseStatus()) return this.#malformed(":status");
    for (let i = 1; i < count; i++) {
      const id = names[i]!;
      if (isPseudo(id)) return this.#malformed(`${fields.name(i)} at the wrong place`);
      const rule = RULES[id]!;
      if (rule === Rule.None || rule === Rule.Host) continue;
      if (rule === Rule.ContentType) this.grpc = isGrpcType(fields, i);
      else if (rule === Rule.ContentLength) {
        const length = parseContentLength(fields, i);
        if (length < 0 || length === Infinity || this.contentLength >= 0) {
          return this.#malformed("Content-Length");
        }
        this.contentLength = length;
      } else return this.#malformed(fields.name(i)); // of the connection; TE is for requests only
    }
    const verdict = this.#checkEnd(endStream, noBody);
    this.#judged = verdict === "ok" ? generation : -1;
    return verdict;
  }

  #malformed(detail: string): "malformed" {
    this.detail = detail;
    this.#judged = -1;
    return "malformed";
  }

  #parseStatus(): boolean {
    const { bytes } = this.fields;
    const start = this.fields.valueStart(0);
    if (this.fields.valueEnd(0) - start !== 3) return false;
    for (let i = start; i < start + 3; i++) {
      const digit = bytes[i]! - 0x30;
      if (digit < 0 || digit > 9) return false;
      this.status = this.status * 10 + digit;
    }
    // RFC 9113, section 8.6: "HTTP/2 does not support the 101 (Switching Protocols)".
    return this.status >= 100 && this.status <= 599 && this.status !== 101;
  }

  #checkEnd(endStream: boolean, noBody: boolean): "ok" | "malformed" {
    if (!endStream) return "ok";
    // RFC 9113, section 8.1: "A HEADERS frame with the END_STREAM flag set that carries an informational
    // status code is malformed".
    if (this.interim) return this.#malformed("an interim response that ends the stream");
    const bodiless = noBody || this.status === 204 || this.status === 304;
    return !bodiless && this.contentLength > 0
      ? this.#malformed("Content-Length without a body")
      : "ok";
  }
}
