/**
 * HTTP/1.1 messages as tests judge them: by a parser that takes only the one form in which a proxy should
 * write a message, and uses none of the code under test.
 *
 * Bytes are texts of which each character is one byte (ISO 8859-1).
 *
 * @module
 */

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const REQUEST_LINE = new RegExp(`^${TOKEN} [!-~]+ HTTP/1\\.1$`);
const STATUS_LINE = /^HTTP\/1\.1 [1-5]\d\d [\t -~\x80-\xff]*$/;
/** `name: value`, one space, nothing around the value; only such lines are written by a proxy with care. */
const FIELD_LINE = new RegExp(
  `^${TOKEN}: (?:[!-~\\x80-\\xff](?:[\\t -~\\x80-\\xff]*[!-~\\x80-\\xff])?)?$`,
);
const CHUNK_SIZE = /^(?:0|[1-9a-f][0-9a-f]*)$/;

/** Bytes came that are no message, or not one in the form that a proxy should write. */
export class MalformedError extends Error {
  override readonly name = "MalformedError";
}

/** A message, taken apart. */
export interface RawMessage {
  /** Request line or status line. */
  readonly startLine: string;
  /** Field lines as they came, in their order. */
  readonly fields: readonly string[];
  /** How the end of the body was found. */
  readonly framing: "none" | "length" | "chunked" | "close";
  /** The content, without chunk framing. */
  readonly body: string;
  /** Trailer field lines. */
  readonly trailers: readonly string[];
}

/** All values of a field, by its name in lower case. */
export function valuesOf(message: Pick<RawMessage, "fields">, name: string): string[] {
  return message.fields.filter((line) => line.toLowerCase().startsWith(`${name}: `))
    .map((line) => line.slice(name.length + 2));
}

/** The status code of a response. */
export function statusOf(response: RawMessage): number {
  return Number(response.startLine.slice(9, 12));
}

/** What {@linkcode parseMessage} has to know of a message. */
export type MessageKind =
  | { readonly type: "request" }
  | {
    readonly type: "response";
    /** The method of the request, for HEAD has no body. */
    readonly method: string;
    /** Whether the connection has ended, which ends a body without framing. */
    readonly ended: boolean;
  };

function check(good: boolean, what: string, text: string): void {
  if (!good) throw new MalformedError(`${what}: ${JSON.stringify(text.slice(0, 200))}`);
}

/** Start line and field lines, and the index behind the head. */
export interface Head {
  readonly startLine: string;
  readonly fields: readonly string[];
  readonly end: number;
}

/** The head that a text begins with, or `undefined` while it is not complete. */
export function parseHead(text: string, kind: MessageKind["type"]): Head | undefined {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const [startLine, ...fields] = text.slice(0, end).split("\r\n");
  const pattern = kind === "request" ? REQUEST_LINE : STATUS_LINE;
  check(pattern.test(startLine!), `no ${kind} line`, startLine!);
  for (const line of fields) check(FIELD_LINE.test(line), "no field line", line);
  return { startLine: startLine!, fields, end: end + 4 };
}

function framingOf(head: Head, kind: MessageKind): "none" | "chunked" | "close" | number {
  const codings = valuesOf(head, "transfer-encoding");
  const lengths = valuesOf(head, "content-length");
  check(codings.length + lengths.length < 2, "framed more than once", head.fields.join(" | "));
  for (const coding of codings) check(coding === "chunked", "unknown transfer coding", coding);
  for (const length of lengths) check(/^(?:0|[1-9]\d*)$/.test(length), "no length", length);
  if (kind.type === "response") {
    const status = Number(head.startLine.slice(9, 12));
    if (kind.method === "HEAD" || status < 200 || status === 204 || status === 304) return "none";
  }
  if (codings.length === 1) return "chunked";
  if (lengths.length === 1) return Number(lengths[0]);
  return kind.type === "request" ? "none" : "close";
}

/** Content, trailers and the index behind the body, or `undefined` while it is not complete. */
function parseChunked(text: string, start: number) {
  let body = "";
  for (let at = start;;) {
    const line = text.indexOf("\r\n", at);
    if (line < 0) return undefined;
    const size = text.slice(at, line);
    check(CHUNK_SIZE.test(size), "no chunk size", size);
    at = line + 2;
    if (size === "0") {
      const trailers: string[] = [];
      for (;;) {
        const end = text.indexOf("\r\n", at);
        if (end < 0) return undefined;
        if (end === at) return { body, trailers, end: at + 2 };
        trailers.push(text.slice(at, end));
        check(FIELD_LINE.test(trailers.at(-1)!), "no trailer line", trailers.at(-1)!);
        at = end + 2;
      }
    }
    const end = at + parseInt(size, 16);
    if (text.length < end + 2) return undefined;
    check(text.startsWith("\r\n", end), "no CRLF behind a chunk", text.slice(end));
    body += text.slice(at, end);
    at = end + 2;
  }
}

/**
 * Parses the message that `text` begins with.
 *
 * @returns The message and the index behind it, or `undefined` while it is not complete.
 * @throws {MalformedError} When it is not in the one accepted form.
 */
export function parseMessage(
  text: string,
  kind: MessageKind,
): { readonly message: RawMessage; readonly end: number } | undefined {
  const head = parseHead(text, kind.type);
  if (head === undefined) return undefined;
  const { startLine, fields } = head;
  const framing = framingOf(head, kind);
  if (framing === "chunked") {
    const parsed = parseChunked(text, head.end);
    if (parsed === undefined) return undefined;
    const { body, trailers, end } = parsed;
    return { message: { startLine, fields, framing, body, trailers }, end };
  }
  if (framing === "close" && kind.type === "response" && !kind.ended) return undefined;
  const end = framing === "close" ? text.length : head.end + (framing === "none" ? 0 : framing);
  if (text.length < end) return undefined;
  const body = text.slice(head.end, end);
  const named = typeof framing === "number" ? "length" : framing;
  return { message: { startLine, fields, framing: named, body, trailers: [] }, end };
}

/** The bytes of a text. */
export function toBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** The text of bytes. */
export function toText(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return text;
}
