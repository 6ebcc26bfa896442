/**
 * What an active health check asks, as data and as text.
 *
 * @module
 */

/** What a backend must do to count as healthy. */
export type HealthCheck =
  /** Take a connection, TLS included. */
  | { readonly type: "tcp" }
  /** Answer a request over HTTP/1.1. */
  | {
    readonly type: "http";
    /** Path and query; begins with `/`. */
    readonly path: string;
    /** Default `GET`. */
    readonly method?: string;
    /** The Host field; the backend's address unless given. */
    readonly host?: string;
    /** Statuses that are good, as inclusive ranges. Default 200 to 399. */
    readonly statuses?: readonly (readonly [from: number, to: number])[];
    /** Text that must occur in the first 64 KiB of the body. */
    readonly body?: string;
  }
  /** Answer `grpc.health.v1.Health/Check` with SERVING. */
  | {
    readonly type: "grpc";
    /** The service asked for; the server as a whole unless given. */
    readonly service?: string;
  }
  /**
   * Say SERVING on a stream of `grpc.health.v1.Health/Watch` that stays open. What is said there holds at once,
   * whatever `rise` and `fall` are. A stream that breaks counts as a failed check and is opened again after
   * `downInterval`. While it is silent, `Check` is asked beside it every `interval`, on the same connection: an
   * answer counts as a check, none in time as a broken stream. Who does not have `Watch` is asked with `Check`.
   */
  | {
    readonly type: "grpc-watch";
    /** The service asked for; the server as a whole unless given. */
    readonly service?: string;
  };

/** A check has its answer, and the answer is not good. The message says why, for people. */
export class CheckFailure extends Error {
  /** The class name, for code that meets errors of several library versions. */
  override readonly name = "CheckFailure";
}

/** When checks are made and what they mean. Times are in milliseconds. */
export interface HealthCheckOptions {
  /** What is asked. */
  readonly check: HealthCheck | string;
  /** From the end of a check to the next one, give or take a tenth. Default 5,000. */
  readonly interval?: number;
  /**
   * The same while the backend fails, so that it is found again soon, and after a failure while it is well, so that it
   * is soon known whether it still is. Default 1,000, or the interval if less.
   */
  readonly downInterval?: number;
  /** How long a check, or the first word on a stream, may take. Default 2,000. */
  readonly timeout?: number;
  /** Successes in a row that end a failure. Default 2. */
  readonly rise?: number;
  /** Failures in a row that make one; the very first check decides alone. Default 3. */
  readonly fall?: number;
}

/** When checks are made, with nothing left out. */
export type CheckSettings = Required<Omit<HealthCheckOptions, "check">>;

/**
 * The check and its settings, defaults filled in.
 *
 * @throws {TypeError} When the check or an option is not valid.
 */
export function resolveHealthCheck(
  options: HealthCheckOptions,
): { readonly check: HealthCheck; readonly settings: CheckSettings } {
  const check = typeof options.check === "string" ? parseHealthCheck(options.check) : options.check;
  const { interval = 5_000, timeout = 2_000, rise = 2, fall = 3 } = options;
  const { downInterval = Math.min(1_000, interval) } = options;
  const settings = { interval, downInterval, timeout, rise, fall };
  for (const [name, value] of Object.entries(settings)) {
    if (!(value > 0 && Number.isFinite(value))) {
      throw new TypeError(`health check ${name} ${value}: a number above 0 is accepted`);
    }
  }
  return { check, settings };
}

/** The statuses that an HTTP check takes for good. */
export const GOOD_STATUSES: readonly (readonly [from: number, to: number])[] = [[200, 399]];

/**
 * Parses `tcp`, `http:/path`, `grpc` or `grpc-watch`, the last two also with `:package.Service`.
 *
 * @throws {TypeError} When it is anything else.
 */
export function parseHealthCheck(text: string): HealthCheck {
  if (text === "tcp") return { type: "tcp" };
  const path = /^http:(\/[!-~]*)$/.exec(text)?.[1];
  if (path !== undefined) return { type: "http", path };
  const grpc = /^(grpc|grpc-watch)(?::([\w.]+))?$/.exec(text);
  if (grpc !== null) {
    const type = grpc[1] as "grpc" | "grpc-watch";
    const service = grpc[2];
    return service === undefined ? { type } : { type, service };
  }
  throw new TypeError(
    `health check ${JSON.stringify(text)} is not accepted; accepted is tcp, http:/path, grpc or ` +
      "grpc-watch, the last two also with :package.Service",
  );
}

/**
 * Parses statuses as `200`, `200-299` or several of both with commas.
 *
 * @throws {TypeError} When it is anything else.
 */
export function parseStatuses(text: string): (readonly [from: number, to: number])[] {
  return text.split(",").map((part) => {
    const [, from, to = from] = /^([1-5]\d\d)(?:-([1-5]\d\d))?$/.exec(part) ?? [];
    if (from === undefined || Number(from) > Number(to)) {
      throw new TypeError(
        `statuses ${
          JSON.stringify(text)
        } are not accepted; accepted is 200, 200-399 or several with commas`,
      );
    }
    return [Number(from), Number(to)] as const;
  });
}

/** The check as text, for people. */
export function formatHealthCheck(check: HealthCheck): string {
  switch (check.type) {
    case "tcp":
      return "tcp";
    case "http":
      return `http:${check.path}`;
    case "grpc":
    case "grpc-watch":
      return check.service === undefined ? check.type : `${check.type}:${check.service}`;
  }
}
