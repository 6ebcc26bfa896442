/**
 * Answers of the control plane as JSON.
 *
 * @module
 */

import { STATUS_TEXT } from "@std/http";
import { HTTP_STATUS, type ManagementError } from "./management_error.ts";

/** An answer with a JSON body, which no cache may keep. */
export function json(status: number, value: unknown, type = "application/json"): Response {
  return new Response(`${JSON.stringify(value)}\n`, {
    status,
    headers: { "Content-Type": type, "Cache-Control": "no-store" },
  });
}

/** A problem document (RFC 9457) for a refusal. */
export function problem(error: ManagementError): Response {
  return problemResponse(HTTP_STATUS[error.code], error.code, error.message, error.field);
}

/**
 * A problem document (RFC 9457).
 *
 * @param code A stable token for programs.
 * @param detail A sentence for people.
 */
export function problemResponse(
  status: number,
  code: string,
  detail: string,
  field?: string,
): Response {
  return json(
    status,
    { type: "about:blank", title: STATUS_TEXT[status], status, detail, code, field },
    "application/problem+json",
  );
}
