/**
 * What HTTP/2 clients do wrong, each with its verdict: RFC 9113, RFC 7541, and the known abuses. Where the RFC
 * leaves a choice between a stream error and a connection error, whoever could make us send resets at will
 * loses his connection.
 *
 * @module
 */
import { ABUSE_CASES } from "./http2_cases/abuses.ts";
import type { Http2Case } from "./http2_cases/case.ts";
import { ERROR_CASES } from "./http2_cases/errors.ts";

export { ABUSE_CASES, type Http2Case };

/** All cases of frames. */
export const HTTP2_CASES: readonly Http2Case[] = [...ERROR_CASES, ...ABUSE_CASES];
