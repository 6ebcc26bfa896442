/**
 * Malformed and ambiguous HTTP/1.1 requests, and good ones beside them, each with its verdict. The bytes
 * are judged by RFC 9110 and RFC 9112; where these leave a choice, what could be read in two ways is
 * refused.
 *
 * @module
 */
import type { RequestCase } from "./http1_requests/case.ts";
import { CHUNKED_CASES } from "./http1_requests/chunked.ts";
import { CONNECTION_CASES } from "./http1_requests/connection.ts";
import { FIELD_CASES } from "./http1_requests/fields.ts";
import { FRAMING_CASES } from "./http1_requests/framing.ts";
import { HOST_CASES } from "./http1_requests/host.ts";
import { REQUEST_LINE_CASES } from "./http1_requests/request_line.ts";

export { type Forwarded, LISTENER, type RequestCase } from "./http1_requests/case.ts";

/** All cases, by area. */
export const REQUEST_CASES: readonly RequestCase[] = [
  ...REQUEST_LINE_CASES,
  ...HOST_CASES,
  ...FIELD_CASES,
  ...FRAMING_CASES,
  ...CHUNKED_CASES,
  ...CONNECTION_CASES,
];
