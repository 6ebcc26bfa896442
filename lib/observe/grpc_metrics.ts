/**
 * Counters of gRPC calls by service and method, and the bound on how many of these there are.
 *
 * Clients choose the names, so a name alone makes no series: it gets its own once a backend has shown that
 * it knows it ({@linkcode provesMethod}, or a message in its answer), or where a route names it. Until then, and
 * beyond {@linkcode MAX_METHODS}, calls are counted under the name `other`.
 *
 * @module
 */
import { bucketOf, type DurationHistogram, makeBuckets } from "./duration.ts";

/** Methods of one listener that have series of their own. A backend may say OK to any name, so there is an end. */
export const MAX_METHODS = 1000;
/** The longest path that gets series of its own, in UTF-16 code units. */
const MAX_PATH = 256;
/** Service and method of all calls that have no series of their own. */
export const OTHER = "other";

/** The label of each status code, by its number (grpc/doc/statuscodes.md), and of what is none. */
export const STATUS_LABELS: readonly string[] = Object.freeze([
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
  // Behind the codes: a status that is no code, and an answer that ended without one.
  "invalid",
  "missing",
]);
const INVALID = STATUS_LABELS.indexOf("invalid");
const MISSING = STATUS_LABELS.indexOf("missing");

/** The status of an answer that ended without any. */
export const NO_STATUS = -1;

/**
 * OK, and the codes that gRPC libraries never generate themselves (grpc/doc/statuscodes.md, below the table):
 * only the method itself can have answered so.
 */
const PROOFS: ReadonlySet<number> = new Set([0, 3, 5, 6, 9, 10, 11, 15]);

/** Whether a status that a backend gave shows that it knows the method. */
export function provesMethod(status: number): boolean {
  return PROOFS.has(status);
}

/** Service and method of `/package.Service/Method`; `undefined` for any other path. */
export function splitMethod(
  path: string,
): { readonly service: string; readonly method: string } | undefined {
  const slash = path.indexOf("/", 1);
  if (slash < 2 || !path.startsWith("/") || slash === path.length - 1) return undefined;
  if (path.includes("/", slash + 1)) return undefined;
  return { service: path.slice(1, slash), method: path.slice(slash + 1) };
}

/** Calls of one method. Messages and bytes are counted as they come, calls when they end. */
export class GrpcMethodStats implements DurationHistogram {
  /** The service with its package. */
  readonly service: string;
  /** The method. */
  readonly method: string;
  /** Calls under way. */
  active = 0;
  /** Messages that came from clients in full. */
  messagesReceived = 0;
  /** Messages that came from backends in full. */
  messagesSent = 0;
  /** Content received from clients, in bytes. */
  bytesReceived = 0;
  /** Content sent to clients, in bytes. */
  bytesSent = 0;
  /** Calls by duration. */
  readonly buckets: Float64Array = makeBuckets();
  sum = 0;
  count = 0;
  readonly #backends = new Map<string, Float64Array>();

  /** Makes series without any call. */
  constructor(service: string, method: string) {
    this.service = service;
    this.method = method;
  }

  /**
   * Counts a call that has ended.
   *
   * @param backend The backend's id; empty when none was reached.
   * @param status The `grpc-status`, or {@linkcode NO_STATUS}.
   * @param seconds From the head of the request to the end of the answer; below 0 or no number counts as 0.
   */
  record(backend: string, status: number, seconds: number): void {
    let statuses = this.#backends.get(backend);
    if (statuses === undefined) {
      this.#backends.set(backend, statuses = new Float64Array(STATUS_LABELS.length));
    }
    statuses[status < 0 ? MISSING : status < INVALID ? status : INVALID]! += 1;
    const duration = seconds > 0 ? seconds : 0;
    this.buckets[bucketOf(duration)]! += 1;
    this.sum += duration;
    this.count += 1;
  }

  /** Each backend's calls, by the index of {@linkcode STATUS_LABELS}. */
  backends(): Iterable<readonly [backend: string, statuses: Float64Array]> {
    return this.#backends;
  }

  /**
   * Drops what is known of a backend.
   *
   * @returns Whether any backend is left.
   */
  forgetBackend(backend: string): boolean {
    this.#backends.delete(backend);
    return this.#backends.size > (this.#backends.has("") ? 1 : 0);
  }
}

/** The methods that clients of one listener call. */
export class GrpcMetrics {
  /** Calls whose names have no series of their own. */
  readonly other: GrpcMethodStats = new GrpcMethodStats(OTHER, OTHER);
  readonly #methods = new Map<string, GrpcMethodStats>();

  /** The series of a path, if it has its own. */
  find(path: string): GrpcMethodStats | undefined {
    return this.#methods.get(path);
  }

  /** The series of a path that a backend or a route has shown to mean something; {@linkcode other} when there is no room for its own. */
  admit(path: string): GrpcMethodStats {
    const known = this.#methods.get(path);
    if (known !== undefined) return known;
    const names = path.length <= MAX_PATH && this.#methods.size < MAX_METHODS
      ? splitMethod(path)
      : undefined;
    if (names === undefined) return this.other;
    const stats = new GrpcMethodStats(names.service, names.method);
    this.#methods.set(path, stats);
    return stats;
  }

  /**
   * The series of a service that a route names, for all of its methods that have none of their own;
   * {@linkcode other} when there is no room for them.
   */
  admitService(service: string): GrpcMethodStats {
    // No method has such a path.
    const key = `/${service}/`;
    const known = this.#methods.get(key);
    if (known !== undefined) return known;
    if (key.length > MAX_PATH || this.#methods.size >= MAX_METHODS) return this.other;
    const stats = new GrpcMethodStats(service, OTHER);
    this.#methods.set(key, stats);
    return stats;
  }

  /** All series, {@linkcode other} only once it has been needed. */
  *series(): Generator<GrpcMethodStats, void, undefined> {
    yield* this.#methods.values();
    if (this.other.count > 0 || this.other.active > 0) yield this.other;
  }

  /** Drops what is known of a backend, and the methods that no other backend has answered. */
  forgetBackend(backend: string): void {
    this.other.forgetBackend(backend);
    for (const [path, stats] of this.#methods) {
      if (!stats.forgetBackend(backend) && stats.active === 0) this.#methods.delete(path);
    }
  }
}
