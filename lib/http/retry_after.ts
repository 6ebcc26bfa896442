/**
 * How long somebody wants to be left alone: RFC 9110, section 10.2.3.
 *
 * @module
 */

/** Digits of seconds that are taken for a number; more is a hundred years at least. */
const SECONDS = /^\d{1,9}$/;
/** The three forms of a date (RFC 9110, section 5.6.7); the third one says no zone and means GMT. */
const IMF_FIXDATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;
const RFC850_DATE = /^[A-Z][a-z]{5,8}, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT$/;
const ASCTIME_DATE = /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}$/;

/**
 * The milliseconds that `Retry-After` says, in seconds or as a date; `undefined` when it is absent or says
 * neither.
 *
 * @param now The time of day in milliseconds since the epoch.
 */
export function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  if (SECONDS.test(value)) return Number(value) * 1000;
  const dated = IMF_FIXDATE.test(value) || RFC850_DATE.test(value);
  if (!dated && !ASCTIME_DATE.test(value)) return undefined;
  const time = Date.parse(dated ? value : `${value} GMT`);
  return Number.isNaN(time) ? undefined : Math.max(time - now, 0);
}
