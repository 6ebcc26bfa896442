/**
 * How much of a message an HTTP/1.1 codec takes.
 *
 * @module
 */

/** Sizes in bytes unless said otherwise; lines without the CRLF that ends them. */
export interface HeadLimits {
  /**
   * The request line, and the status line of a response; longer is 414. RFC 9112, section 3 asks for at
   * least 8000. Default 8192.
   */
  readonly maxRequestLine: number;
  /** One field line; longer is 431. Default 16384. */
  readonly maxFieldLine: number;
  /** The whole head, from the first line to the empty one; longer is 431. Default 32768. */
  readonly maxHead: number;
  /** The count of field lines; more is 431. Default 100. */
  readonly maxFields: number;
}

/** Limits that suit browsers with many cookies and still bound what one connection can hold. */
export const DEFAULT_HEAD_LIMITS: HeadLimits = {
  maxRequestLine: 8192,
  maxFieldLine: 16_384,
  maxHead: 32_768,
  maxFields: 100,
};
