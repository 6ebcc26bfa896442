/**
 * What the access log says of a request beside what becomes of it.
 *
 * @module
 */
import type { RequestHead } from "../h1/request.ts";

/** What the access log says of a request, taken while its head is there. */
export interface LogDraft {
  /** Path and query as they are forwarded. */
  readonly target: string;
  /** Host and port as the client named them. */
  readonly host: string;
  /** User-Agent. */
  readonly userAgent: string;
  /** Referer. */
  readonly referer: string;
}

/** Takes it from a head. */
export function draftLog(head: RequestHead): LogDraft {
  return {
    target: head.target,
    host: head.authority,
    userAgent: head.header("user-agent") ?? "",
    referer: head.header("referer") ?? "",
  };
}
