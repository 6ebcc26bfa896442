/**
 * How many interim responses a backend may send.
 *
 * @module
 */

/**
 * Interim heads (1xx; RFC 9110, section 15.2) that one try may get, over either version of HTTP; a backend that sends
 * more is broken.
 */
export const MAX_INTERIM = 10;
