/**
 * Malformed and ambiguous responses of a backend, and good ones beside them, each with what the client
 * must get and what becomes of the backend's connection.
 *
 * @module
 */
import type { ResponseCase } from "./http1_responses/case.ts";
import { EXCHANGE_CASES } from "./http1_responses/exchanges.ts";
import { FRAMING_CASES } from "./http1_responses/framing.ts";
import { HEAD_CASES } from "./http1_responses/heads.ts";

export type { Outcome, ResponseCase } from "./http1_responses/case.ts";

/** All cases, by area. */
export const RESPONSE_CASES: readonly ResponseCase[] = [
  ...FRAMING_CASES,
  ...HEAD_CASES,
  ...EXCHANGE_CASES,
];
