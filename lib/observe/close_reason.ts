/**
 * Why lb ended a connection of a client on its own account.
 *
 * @module
 */

/**
 * What a connection ran into that lb ended without refusing anything, as the stable token of
 * `lb_connections_closed_total{reason}`. What was refused, floods of HTTP/2 included, is in
 * `lb_refusals_total{reason}` instead, so that each end is counted once.
 */
export type CloseReason =
  /** Nothing came that says what the connection is for, or no beginning of a request. */
  | "first_byte_timeout"
  /** A client over HTTP/2 did not send its SETTINGS. */
  | "settings_timeout"
  /** No further request came. */
  | "idle_timeout"
  /** A tunnel, or a connection at layer 4, was silent. */
  | "tunnel_idle_timeout"
  /** The same, once one side had ended. */
  | "half_closed_timeout"
  /** A PING was not answered. */
  | "keepalive_timeout"
  /** A client over HTTP/2 read nothing of what was written to it. */
  | "write_timeout"
  /** A client over HTTP/2 kept the window of its connection shut. */
  | "window_stall"
  /** It had its age, and was asked to go. */
  | "max_connection_age"
  /** Its calls went on for longer than the grace behind that. */
  | "max_connection_age_grace"
  /** There were too few descriptors, and it was idle. */
  | "descriptors"
  /** The balancer was about to end, and no request came in time. */
  | "drain_idle_timeout"
  /** The same, and something was still under way. */
  | "drain_timeout";
