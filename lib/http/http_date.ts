/**
 * The time as HTTP says it.
 *
 * @module
 */

let lastSecond = 0;
let lastText = "";

/** The time of day in the form of RFC 9110, section 5.6.7, for Date; made once a second. */
export function httpDate(): string {
  const now = Date.now();
  const second = Math.floor(now / 1000);
  if (second !== lastSecond) {
    lastSecond = second;
    lastText = new Date(now).toUTCString();
  }
  return lastText;
}
