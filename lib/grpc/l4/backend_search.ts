/**
 * Finds the backend of a tunnel: picks one, waits where all have as many connections as they may have, and tries
 * another where one cannot be reached.
 *
 * @module
 */
import type { Waiting } from "../../backend/admission.ts";
import type { Lease, LiveBackend } from "../../backend/backend.ts";
import { isLocal, openWatched } from "../../backend/connector.ts";
import type { Member } from "../../backend/pool.ts";
import { failedBy, Passes, toldAs } from "../../backend/recovery.ts";
import { describeError, type ErrorCode, ProxyError } from "../../common/errors.ts";
import { getLogger } from "../../observe/logger.ts";
import { SampledLog } from "../../observe/sampled_log.ts";
import type { UpstreamStats } from "../../observe/metrics.ts";
import { hashText } from "../../strategy/hash.ts";
import type { TunnelContext } from "./context.ts";

const log = getLogger("grpc");
const unreached = new SampledLog(log, {
  message: "a backend was not reached",
  by: ["code", "backend"],
});
const full = new SampledLog(log, { message: "no backend has room for a client", by: ["code"] });

/** What a {@linkcode BackendSearch} is made of. */
export interface BackendSearchParts {
  /** Which backends there are, and how many may be tried. */
  readonly context: TunnelContext;
  /** The client's address. */
  readonly address: string;
  /** Whether a call still waits for a backend. */
  readonly isWanted: () => boolean;
  /** Connects to a backend; the lease is given back by whoever ends the connection. Rejects when there is none. */
  readonly open: (lease: Lease, stats: UpstreamStats) => Promise<void>;
}

/** The tries of one search so far. */
interface Tries {
  readonly tried: ReadonlySet<LiveBackend>;
  /** The last one. */
  readonly failed: LiveBackend | undefined;
  readonly passes: Passes;
  /** What the last one failed by. */
  readonly code: ErrorCode;
}

/** The search of one tunnel. */
export class BackendSearch {
  readonly #parts: BackendSearchParts;
  readonly #key: number | undefined;
  /** Set while all backends are at their limit. */
  #waiting: Waiting | undefined;
  #cancelled = false;

  /** Made with the tunnel. */
  constructor(parts: BackendSearchParts) {
    this.#parts = parts;
    this.#key = parts.context.hashed ? hashText(parts.address) : undefined;
  }

  /**
   * Connects to a backend. Resolves when there is one, or with what to answer; `client_closed` when nobody waits any
   * more. Never rejects.
   */
  async run(): Promise<ErrorCode | undefined> {
    const { context, isWanted, open } = this.#parts;
    const { calls, pool } = context;
    const tried = new Set<LiveBackend>();
    const passes = new Passes();
    let failed: LiveBackend | undefined;
    let code: ErrorCode = "no_backend";
    calls.recovery.count(calls.clock.now());
    while (isWanted()) {
      const taken = this.#take({ tried, failed, passes, code });
      const lease = taken instanceof Promise ? await taken : taken;
      if (typeof lease === "string") return lease;
      const stats = calls.metrics.upstream(lease.backend.id);
      stats.attempts++;
      if (tried.size > 0) stats.retries++;
      try {
        await openWatched(lease.backend.connectWatch, () => open(lease, stats));
        return undefined;
      } catch (error) {
        code = this.#onFailed(error, lease, stats);
        if (code === "client_closed" || isFinal(error)) return code;
        failed = lease.backend;
        tried.add(failed);
        if (!passes.within(tried.size, calls.maxAttempts)) return toldAs(code, pool);
      }
    }
    return "client_closed";
  }

  /** Waits no more for a backend that has room: the search ends. */
  cancel(): void {
    if (this.#waiting === undefined) return;
    this.#cancelled = true;
    this.#waiting.cancel();
  }

  /** The right to use a backend that has not been tried; else what to answer, which was `code` so far. */
  #take({ tried, failed, passes, code }: Tries): Lease | ErrorCode | Promise<Lease | ErrorCode> {
    const { pool, calls } = this.#parts.context;
    const skip = failed === undefined ? undefined : ({ backend }: Member) => tried.has(backend);
    if (failed !== undefined) {
      const outlook = pool.outlook(skip);
      const free = passes.allow(failed, outlook);
      if (outlook === "none" || !(free || calls.recovery.take(calls.metrics))) {
        return toldAs(code, pool);
      }
      if (free) passes.pass(code !== "connect_timeout");
    }
    const live = pool.pick(skip, this.#key);
    if (live !== undefined) return live.acquire();
    const waiting = pool.serves(skip) ? pool.wait(skip, this.#key) : undefined;
    return waiting === undefined ? code : this.#wait(waiting);
  }

  async #wait(waiting: Waiting): Promise<Lease | ErrorCode> {
    this.#waiting = waiting;
    this.#cancelled = false;
    try {
      const lease = await waiting.lease;
      // What was given in the same turn was given back with that.
      return this.#cancelled ? "client_closed" : lease;
    } catch (error) {
      const known = asProxyError(error);
      if (!this.#cancelled) {
        full.warning({ code: known.code, error: describeError(known) });
      }
      return known.code;
    } finally {
      this.#waiting = undefined;
    }
  }

  #onFailed(error: unknown, lease: Lease, stats: UpstreamStats): ErrorCode {
    const known = asProxyError(error);
    const { code, side } = known;
    if (code !== "client_closed") {
      unreached.warning({ code, backend: lease.backend.addr, error: describeError(known) });
      stats.failed(code);
      if (side === "upstream") lease.report(failedBy(code));
    }
    lease.release();
    return code;
  }
}

/** Whether no other backend could be connected to either. */
function isFinal(error: unknown): boolean {
  return isLocal(error) && error.retry === "never";
}

function asProxyError(error: unknown): ProxyError {
  return error instanceof ProxyError
    ? error
    : new ProxyError("internal", "internal", "a backend failed", { cause: error });
}
