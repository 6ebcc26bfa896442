/**
 * The one error class of the data plane.
 *
 * An error says what happened (`code`), on whose side, and whether the request may be tried again.
 * The cause goes to the log; a peer only ever sees the code's status and a fixed sentence.
 *
 * @module
 */

/** Which side of the proxy an error belongs to. */
export type Side = "downstream" | "upstream" | "internal";

/**
 * Whether a request that met this error may be tried again.
 *
 * - `never`: the backend may have acted on it.
 * - `safe`: no byte of the request was sent, so any request may go to another backend.
 * - `if-reused`: a pooled connection was closed while idle; an idempotent request whose body can be
 *   replayed may be sent once more on a fresh connection (RFC 9112, section 9.3.1).
 * - `if-idempotent`: no byte of an answer came, and the backend may have acted on the request; an idempotent
 *   one whose body can be replayed may be sent to another backend.
 */
export type Retry = "never" | "safe" | "if-reused" | "if-idempotent";

/**
 * Every way in which the data plane can refuse or fail, as the stable token that the log, the
 * metrics and the tests share.
 */
export type ErrorCode =
  // downstream: the request cannot be understood or is refused
  | "bad_request_line"
  | "bad_target"
  | "bad_version"
  | "bad_field"
  | "bad_host"
  | "bad_framing"
  | "bad_chunk"
  | "bad_expect"
  | "bad_timeout"
  | "unsupported_coding"
  | "method_not_allowed"
  | "method_not_implemented"
  | "line_too_long"
  | "head_too_large"
  | "body_too_large"
  | "request_timeout"
  | "body_timeout"
  | "too_many_connections"
  | "too_many_from_client"
  | "rate_limited"
  | "client_closed"
  | "client_stalled"
  | "no_route"
  | "upgrade_unsupported"
  // upstream: the backend cannot be reached or breaks the protocol
  | "no_backend"
  | "pool_exhausted"
  | "overloaded"
  | "connect_refused"
  | "connect_timeout"
  | "connect_failed"
  | "tls_failed"
  | "upstream_closed"
  | "upstream_reset"
  | "upstream_timeout"
  | "upstream_stalled"
  | "deadline_exceeded"
  | "upstream_protocol"
  // internal: nothing that a peer has done
  | "local_exhausted"
  | "shutdown"
  | "internal";

/** What {@linkcode ProxyError} is made of beside its code. */
export interface ProxyErrorOptions {
  /** Whether the request may be tried again; `never` unless given. */
  retry?: Retry;
  /** In how many milliseconds trying again makes sense, where that is known. */
  retryAfter?: number;
  /** What led to it, for the log only. */
  cause?: unknown;
}

/** An exchange, or the attempt to begin one, failed. */
export class ProxyError extends Error {
  /** The class name, for code that meets errors of several library versions. */
  override readonly name = "ProxyError";
  /** What happened, as a stable token. */
  readonly code: ErrorCode;
  /** On whose side it happened. */
  readonly side: Side;
  /** Whether the request may be tried again. */
  readonly retry: Retry;
  /** In how many milliseconds trying again makes sense, where that is known. */
  readonly retryAfter: number | undefined;

  /** Makes an error; `message` is for people who read the log. */
  constructor(code: ErrorCode, side: Side, message: string, options: ProxyErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.side = side;
    this.retry = options.retry ?? "never";
    this.retryAfter = options.retryAfter;
  }
}

/** How many causes of causes are told; a cycle must not be followed for ever. */
const MAX_CAUSES = 8;

/** The text of anything that was thrown, causes included, on one line for the log. */
export function describeError(error: unknown, depth = MAX_CAUSES): string {
  if (!(error instanceof Error)) return String(error);
  const own = error instanceof ProxyError ? error.message : `${error.name}: ${error.message}`;
  return error.cause === undefined || depth === 0
    ? own
    : `${own} (${describeError(error.cause, depth - 1)})`;
}
