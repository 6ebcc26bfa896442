/**
 * Refusals of the management API: one set of codes, which HTTP and gRPC each map to their own.
 *
 * @module
 */

/** Why a call was refused. The codes of gRPC are used where there is one. */
export type ManagementErrorCode =
  | "invalid_argument"
  | "unauthenticated"
  | "permission_denied"
  | "not_found"
  | "method_not_allowed"
  | "failed_precondition"
  | "payload_too_large"
  | "unsupported_media_type";

/** The status code of HTTP for each code (RFC 9110, section 15.5). */
export const HTTP_STATUS: Readonly<Record<ManagementErrorCode, number>> = {
  invalid_argument: 400,
  unauthenticated: 401,
  permission_denied: 403,
  not_found: 404,
  method_not_allowed: 405,
  failed_precondition: 409,
  payload_too_large: 413,
  unsupported_media_type: 415,
};

/** A call of the management API was refused; nothing has been changed. */
export class ManagementError extends Error {
  /** The class name, for code that meets errors of several library versions. */
  override readonly name = "ManagementError";
  /** Why, as a stable token. */
  readonly code: ManagementErrorCode;
  /** The field of the call that is to blame, e.g. `backend_addr` or `paths[0]`. */
  readonly field: string | undefined;

  /** Makes an error; the message is for the caller and says what is accepted. */
  constructor(code: ManagementErrorCode, message: string, field?: string) {
    super(field === undefined ? message : `${field}: ${message}`);
    this.code = code;
    this.field = field;
  }
}

/**
 * Runs a check and turns its `TypeError`, which says what is wrong with a value, into an
 * `invalid_argument` that also names the field.
 *
 * @throws {ManagementError} when the check does.
 */
export function checkField<T>(field: string | undefined, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (error instanceof TypeError) {
      throw new ManagementError("invalid_argument", error.message, field);
    }
    throw error;
  }
}
