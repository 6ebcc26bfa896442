/**
 * What a case of the request table is, and the words that the table is written in.
 *
 * @module
 */

/** A request as it must reach the backend. */
export interface Forwarded {
  /**
   * Request line and field lines, all of them and in this order, apart from the fields that the proxy
   * writes of its own accord: `X-Forwarded-For`, `-Proto`, `-Host` and `X-Request-Id`.
   */
  readonly head: readonly string[];
  /** The content. */
  readonly body: string;
  /** Trailer field lines. */
  readonly trailers: readonly string[];
  /** What `X-Request-Id` must say; a new id unless given. */
  readonly requestId?: string;
}

/** Bytes that a client sends, and what has to come of them. */
export interface RequestCase {
  /** Unique. F, L, K, R, H, N and X with a number name classes of attack. */
  readonly id: string;
  /** RFC and section. */
  readonly rfc: string;
  /** What is tried, or why the verdict is what it is. */
  readonly why: string;
  /** The bytes, each a character, sent on one connection. */
  readonly request: string;
  /**
   * - `reject`: the last answer is a refusal, and the connection ends with it.
   * - `forward`: everything is forwarded, or answered on the spot.
   */
  readonly verdict: "reject" | "forward";
  /** The requests that reach the backend as a whole, and nothing else does. */
  readonly forwarded: readonly Forwarded[];
  /** The status codes of the final responses, all of them, in their order. */
  readonly answers: readonly number[];
  /** The code of the problem document in the last answer. */
  readonly code?: string;
  /** The status codes of interim responses. */
  readonly interim: readonly number[];
  /** Whether the proxy ends the connection although the client does not. */
  readonly closes: boolean;
  /** Whether the client ends its side of the connection behind its bytes. */
  readonly end: boolean;
  /**
   * Whether the fault lies in the body. Then a backend may have begun to receive the request when the
   * fault arrives, and must see it end unfinished.
   */
  readonly inBody: boolean;
}

/** In `head`, the address of the listener, which a request of HTTP/1.0 without Host is sent to. */
export const LISTENER = "<listener>";

/** What else may be said of a case. */
export type Details = Partial<
  Pick<RequestCase, "forwarded" | "answers" | "interim" | "closes" | "end" | "inBody">
>;

/** Bytes that must be refused with this status and code, after which the connection ends. */
export function reject(
  id: string,
  rfc: string,
  why: string,
  [status, code]: readonly [number, string],
  request: string,
  { forwarded = [], ...details }: Details = {},
): RequestCase {
  return {
    id,
    rfc,
    why,
    request,
    verdict: "reject",
    forwarded,
    answers: [...forwarded.map(() => 200), status],
    code,
    interim: [],
    closes: true,
    end: false,
    inBody: false,
    ...details,
  };
}

/** Bytes that must reach the backend as these requests, each of which is answered 200. */
export function forward(
  id: string,
  rfc: string,
  why: string,
  request: string,
  forwarded: readonly Forwarded[],
  details: Details = {},
): RequestCase {
  return {
    id,
    rfc,
    why,
    request,
    verdict: "forward",
    forwarded,
    answers: forwarded.map(() => 200),
    interim: [],
    closes: false,
    end: false,
    inBody: false,
    ...details,
  };
}

/** A head of these lines. */
export function head(...lines: readonly string[]): string {
  return lines.map((line) => `${line}\r\n`).join("") + "\r\n";
}

/** `GET /` with `Host: a` and these field lines. */
export function get(...fields: readonly string[]): string {
  return head("GET / HTTP/1.1", "Host: a", ...fields);
}

/** `POST /` with `Host: a` and these field lines. */
export function post(...fields: readonly string[]): string {
  return head("POST / HTTP/1.1", "Host: a", ...fields);
}

/** A request at the backend. */
export function sees(
  lines: readonly string[],
  body = "",
  trailers: readonly string[] = [],
): Forwarded {
  return { head: lines, body, trailers };
}

/** The same for `GET /` with `Host: a` and these field lines. */
export function seesGet(...fields: readonly string[]): Forwarded {
  return sees(["GET / HTTP/1.1", "Host: a", ...fields]);
}

/** The same for `POST /` with `Host: a` and a body, framed by its length. */
export function seesPost(body: string, ...fields: readonly string[]): Forwarded {
  return sees(["POST / HTTP/1.1", "Host: a", ...fields, `Content-Length: ${body.length}`], body);
}

/** `Transfer-Encoding: chunked` */
export const CHUNKED = "Transfer-Encoding: chunked";
/** What an attacker would have the backend, and not the proxy, take for a request. */
export const EVIL: string = head("GET /evil HTTP/1.1", "Host: a");
/** The same at the backend, for where it is a request of its own. */
export const SEES_EVIL: Forwarded = sees(["GET /evil HTTP/1.1", "Host: a"]);

/** 208 KB in which no part is like another. */
export const LARGE: string = [..."abcdefghijklmnopqrstuvwxyz"].map((letter) => letter.repeat(8000))
  .join("");

/** The refusals, as status and code. */
export const REQUEST_LINE = [400, "bad_request_line"] as const;
export const TARGET = [400, "bad_target"] as const;
export const VERSION = [505, "bad_version"] as const;
export const FIELD = [400, "bad_field"] as const;
export const HOST = [400, "bad_host"] as const;
export const FRAMING = [400, "bad_framing"] as const;
export const CODING = [501, "unsupported_coding"] as const;
export const CHUNK = [400, "bad_chunk"] as const;
export const EXPECT = [417, "bad_expect"] as const;
export const METHOD = [405, "method_not_allowed"] as const;
export const BODY_SIZE = [413, "body_too_large"] as const;
export const LINE_SIZE = [414, "line_too_long"] as const;
export const HEAD_SIZE = [431, "head_too_large"] as const;
export const ENDED = [400, "client_closed"] as const;
