/**
 * What a case of the response table is, and the words that the table is written in.
 *
 * @module
 */

/** What a client must get. */
export type Outcome =
  /** A whole response. */
  | {
    readonly type: "whole";
    readonly status: number;
    /** The field lines, all of them and in this order, apart from a Date that the backend did not send. */
    readonly fields: readonly string[];
    readonly body: string;
    readonly trailers: readonly string[];
  }
  /** A problem document with status 502. */
  | { readonly type: "refused"; readonly code: string }
  /**
   * The begin of a response with this status and, as far as it got, this content; then the connection ends,
   * so that nobody can take it for the whole.
   */
  | { readonly type: "cut"; readonly status: number; readonly body: string }
  /** Refused when the fault is in the first bytes that are read, cut when it comes later. */
  | { readonly type: "refused or cut"; readonly status: number; readonly body: string };

/** A response of a backend, and what has to come of it. */
export interface ResponseCase {
  /** Unique. S with a number names classes of attack. */
  readonly id: string;
  /** RFC and section. */
  readonly rfc: string;
  /** What is tried, or why the verdict is what it is. */
  readonly why: string;
  /** What the client sends; its path must be `/case`. */
  readonly request: string;
  /** The bytes that the backend answers with, each a character. */
  readonly response: string;
  /** What the backend does behind its bytes. */
  readonly then: "nothing" | "close" | "reset";
  /** Whether it answers as soon as it has the head of the request. */
  readonly early: boolean;
  /** What the client must get. */
  readonly outcome: Outcome;
  /** The interim responses before that: status, then field lines. */
  readonly interim: readonly (readonly [number, ...string[]])[];
  /** Whether the client's connection ends with the response although that is whole. */
  readonly closes: boolean;
  /** Whether the next request may go to the backend on the same connection. */
  readonly reuse: boolean;
  /** Whether the request is made again when its connection had been used before. */
  readonly retried: boolean;
}

/** What else may be said of a case. */
export type Details = Partial<
  Pick<ResponseCase, "request" | "then" | "early" | "interim" | "closes" | "reuse" | "retried">
>;

/** The request that is answered unless another one is given. */
const GET = "GET /case HTTP/1.1\r\nHost: a\r\n\r\n";
/** Other ones. */
export const HEAD = "HEAD /case HTTP/1.1\r\nHost: a\r\n\r\n";
export const HTTP10 = "GET /case HTTP/1.0\r\nHost: a\r\n\r\n";
export const HTTP10_KEEP = "GET /case HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
/** `Transfer-Encoding: chunked` */
export const CHUNKED = "Transfer-Encoding: chunked";
/** What ends a chunked body. */
export const LAST = "0\r\n\r\n";
/** What an attacker who controls a backend would have the next client get. */
export const EVIL: string = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
/** 208 KB in which no part is like another. */
export const LARGE: string = [..."abcdefghijklmnopqrstuvwxyz"].map((letter) => letter.repeat(8000))
  .join("");

/** A head of these lines. */
export function head(...lines: readonly string[]): string {
  return lines.map((line) => `${line}\r\n`).join("") + "\r\n";
}

/** `200 OK` with these field lines. */
export function ok(...fields: readonly string[]): string {
  return head("HTTP/1.1 200 OK", ...fields);
}

/** A whole response with these field lines. */
export function whole(
  status: number,
  fields: readonly string[],
  body = "",
  trailers: readonly string[] = [],
): Extract<Outcome, { type: "whole" }> {
  return { type: "whole", status, fields, body, trailers };
}

function entry(
  id: string,
  rfc: string,
  why: string,
  response: string,
  outcome: Outcome,
  details: Details = {},
): ResponseCase {
  return {
    id,
    rfc,
    why,
    request: GET,
    response,
    then: "nothing",
    early: false,
    outcome,
    interim: [],
    closes: false,
    reuse: outcome.type === "whole",
    retried: false,
    ...details,
  };
}

/** A response that must be passed on as this. */
export function pass(
  id: string,
  rfc: string,
  why: string,
  response: string,
  outcome: Extract<Outcome, { type: "whole" }>,
  details: Details = {},
): ResponseCase {
  return entry(id, rfc, why, response, outcome, details);
}

/** A response that the backend does not finish: what of `body` has come may reach the client. */
export function cut(
  id: string,
  rfc: string,
  why: string,
  response: string,
  body: string,
  then: "close" | "reset",
): ResponseCase {
  return entry(id, rfc, why, response, { type: "cut", status: 200, body }, { then });
}

/** A response with a fault in its body: what of `body` comes before it may reach the client. */
export function spoil(
  id: string,
  rfc: string,
  why: string,
  response: string,
  body: string,
): ResponseCase {
  return entry(id, rfc, why, response, { type: "refused or cut", status: 200, body });
}

/** A response that must be refused. */
export function refuse(
  id: string,
  rfc: string,
  why: string,
  response: string,
  details: Details & { readonly code?: string } = {},
): ResponseCase {
  const { code = "upstream_protocol", ...rest } = details;
  return entry(id, rfc, why, response, { type: "refused", code }, rest);
}

/** What most good responses come to. */
export const LENGTH_5: Extract<Outcome, { type: "whole" }> = whole(
  200,
  ["Content-Length: 5"],
  "hello",
);
