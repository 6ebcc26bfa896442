/**
 * Active health: every backend is asked again and again whether it is well.
 *
 * @module
 */
import type { Clock, Timed } from "../../common/clock.ts";
import { describeError } from "../../common/errors.ts";
import { getLogger } from "../../observe/logger.ts";
import type { LiveBackend } from "../backend.ts";
import type { Connect } from "../connector.ts";
import {
  CheckFailure,
  type CheckSettings,
  formatHealthCheck,
  type HealthCheck,
  type HealthCheckOptions,
  resolveHealthCheck,
} from "./check.ts";
import { askHttp } from "./http_probe.ts";

/**
 * Makes one check.
 *
 * @throws {Error} When the backend is not well; the message says why.
 */
export type Probe = (backend: LiveBackend, options: ProbeOptions) => Promise<void>;

/** How a {@linkcode Probe} is made. */
export interface ProbeOptions {
  /** Milliseconds until it must have ended. */
  readonly timeout: number;
  /** Aborted when nobody wants to know any more, or the time is over. */
  readonly signal: AbortSignal;
}

/** What active checks are made of. */
export interface ActiveCheckParts {
  /** All backends as they are now. */
  readonly backends: () => Iterable<LiveBackend>;
  /** Calls back after each change of the backends; what it returns ends that. */
  readonly onChange: (listener: () => void) => () => void;
  /** For all deadlines. */
  readonly clock: Clock;
  /** Opens connections of its own for checks. */
  readonly connect: Connect;
  /** Certificates in PEM that are trusted beside the well-known ones. */
  readonly caCerts?: readonly string[];
  /** Makes a check over gRPC. */
  readonly grpc: (service: string | undefined) => Probe;
  /** Chance from 0 up to but not 1; `Math.random` unless given. */
  readonly random?: () => number;
}

/** The part of an interval by which checks are moved, so that those of many backends do not all meet. */
const JITTER = 0.1;

const log = getLogger("health");

/** Checks the backends of one registry. */
export class ActiveChecks {
  readonly #parts: ActiveCheckParts;
  readonly #settings: CheckSettings;
  readonly #probe: Probe;
  readonly #checked = new Map<LiveBackend, Checked>();
  readonly #stop: () => void;
  /** The check as text. */
  readonly name: string;

  /**
   * Begins to check.
   *
   * @throws {TypeError} When the check or an option is not valid.
   */
  constructor(parts: ActiveCheckParts, options: HealthCheckOptions) {
    this.#parts = parts;
    const { check, settings } = resolveHealthCheck(options);
    this.name = formatHealthCheck(check);
    this.#settings = settings;
    this.#probe = makeProbe(check, parts);
    this.#stop = parts.onChange(() => this.#reconcile());
    this.#reconcile();
  }

  #reconcile(): void {
    const present = new Set(this.#parts.backends());
    for (const [backend, checked] of this.#checked) {
      if (present.has(backend)) continue;
      checked.close();
      this.#checked.delete(backend);
    }
    const { clock, random = Math.random } = this.#parts;
    for (const backend of present) {
      if (this.#checked.has(backend)) continue;
      const parts = { clock, random, probe: this.#probe, settings: this.#settings };
      this.#checked.set(backend, new Checked(backend, parts));
    }
  }

  /** Checks no more; resolves when nothing is under way. */
  async close(): Promise<void> {
    this.#stop();
    const ends = [...this.#checked.values()].map((checked) => checked.close());
    this.#checked.clear();
    await Promise.all(ends);
  }
}

function makeProbe(check: HealthCheck, { connect, caCerts, grpc }: ActiveCheckParts): Probe {
  if (check.type === "grpc") return grpc(check.service);
  return async (backend, { timeout, signal }) => {
    const duplex = await connect(backend.address, {
      timeout,
      ...(caCerts === undefined ? {} : { caCerts }),
    });
    const close = () => duplex.close();
    signal.addEventListener("abort", close);
    try {
      if (signal.aborted || check.type === "tcp") return close();
      await askHttp(duplex, backend.address, check);
    } finally {
      signal.removeEventListener("abort", close);
    }
  };
}

function reasonOf(error: unknown): string {
  return error instanceof CheckFailure ? error.message : describeError(error);
}

interface CheckedParts {
  readonly clock: Clock;
  readonly random: () => number;
  readonly probe: Probe;
  readonly settings: CheckSettings;
}

/** One backend, asked again and again. */
class Checked implements Timed {
  readonly #backend: LiveBackend;
  readonly #parts: CheckedParts;
  #asking: { readonly abort: AbortController; readonly end: Promise<void> } | undefined;
  #closed = false;
  /** Whether any check has ended. */
  #known = false;
  #passing = true;
  /** Results in a row that say the opposite of `#passing`. */
  #inRow = 0;
  deadline = Infinity;

  constructor(backend: LiveBackend, parts: CheckedParts) {
    this.#backend = backend;
    this.#parts = parts;
    parts.clock.watch(this);
    this.#ask();
  }

  #ask(): void {
    const { probe, settings: { timeout }, clock } = this.#parts;
    const abort = new AbortController();
    clock.arm(this, timeout);
    const end = probe(this.#backend, { timeout, signal: abort.signal }).then(
      () => this.#settle(abort.signal.aborted ? `no answer within ${timeout} ms` : undefined),
      (error) =>
        this.#settle(abort.signal.aborted ? `no answer within ${timeout} ms` : reasonOf(error)),
    );
    this.#asking = { abort, end };
  }

  onDeadline(): void {
    if (this.#asking === undefined) this.#ask();
    else this.#asking.abort.abort();
  }

  /** @param reason Why the check failed, if it did. */
  #settle(reason: string | undefined): void {
    this.#asking = undefined;
    if (this.#closed) return;
    const { settings, clock, random } = this.#parts;
    const passed = reason === undefined;
    this.#inRow = passed === this.#passing ? 0 : this.#inRow + 1;
    const needed = !this.#known ? 1 : this.#passing ? settings.fall : settings.rise;
    this.#known = true;
    if (this.#inRow >= needed) {
      this.#passing = passed;
      this.#inRow = 0;
      const { addr, health } = this.#backend;
      if (passed) {
        log.info("a backend is healthy again", { backend: addr });
        health.pass();
      } else {
        log.warning("a backend fails its health checks", { backend: addr, reason });
        health.fail(reason);
      }
    }
    const interval = this.#passing ? settings.interval : settings.downInterval;
    clock.arm(this, interval * (1 + JITTER * (2 * random() - 1)));
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#parts.clock.unwatch(this);
    this.#asking?.abort.abort();
    return this.#asking?.end ?? Promise.resolve();
  }
}
