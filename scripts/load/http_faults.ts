/**
 * What the HTTP backends of `outage` and `soak` answer, and how they go wrong.
 *
 * @module
 */

/** The content of every answer of HTTP. */
export const HTTP_ANSWER = "ok";

/** What goes wrong, by path. Every answer is cut or refused in a way that a client must be able to tell. */
export const HTTP_FAULTS = {
  /** The connection is reset before any byte of an answer. */
  "/fault/reset": { status: 502 },
  /** It is closed before any byte of an answer. */
  "/fault/close": { status: 502 },
  /** What comes is no HTTP. */
  "/fault/garbage": { status: 502 },
  /** Nothing comes. */
  "/fault/stall": { status: 504 },
  /** The answer ends in the middle. */
  "/fault/cut": { status: "cut" },
} as const satisfies Record<string, { readonly status: number | "cut" }>;

/** How a client must see the fault of a path. */
export type FaultPath = keyof typeof HTTP_FAULTS;
