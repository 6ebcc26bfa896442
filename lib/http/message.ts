/**
 * What routing sees of a request, whichever codec read it.
 *
 * @module
 */

/** The parts of a request that a route may ask about. Reading one must be cheap and free of side effects. */
export interface RequestView {
  /** The method as sent; methods are case-sensitive (RFC 9110, section 9.1). */
  readonly method: string;
  /** The raw path of the target without the query, e.g. `/a/b`, or `*`. Nothing is decoded. */
  readonly path: string;
  /** The raw query without its `?`; empty when there is none. */
  readonly query: string;
  /** The host without port, in lower case; empty when the request names none. */
  readonly host: string;
  /** Whether the content type is `application/grpc` or one of its kin. */
  readonly grpc: boolean;
  /**
   * The value of a field by its name in lower case, several lines joined by `, `
   * (RFC 9110, section 5.3); `undefined` when it is absent.
   */
  header(name: string): string | undefined;
}
