/**
 * Active health: every backend is asked again and again whether it is well.
 *
 * @module
 */
import type { Clock } from "../../common/clock.ts";
import type { LiveBackend } from "../backend.ts";
import { type Connect, openWatched } from "../connector.ts";
import type { Standing } from "../knowledge.ts";
import {
  type CheckSettings,
  formatHealthCheck,
  type HealthCheck,
  type HealthCheckOptions,
  resolveHealthCheck,
} from "./check.ts";
import { Checked, type Checker, type CheckerParts } from "./checked.ts";
import { askHttp } from "./http_probe.ts";
import type { Probe, Watch } from "./probe.ts";
import { Verdict } from "./verdict.ts";
import { Watched } from "./watched.ts";

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
  /** Opens streams of health over gRPC. */
  readonly grpcWatch: (service: string | undefined) => Watch;
  /** What checks have said of a backend before these; nothing unless given. */
  readonly standing?: (backend: LiveBackend) => Standing | undefined;
  /** Chance from 0 up to but not 1; `Math.random` unless given. */
  readonly random?: () => number;
}

/** Follows the health of one backend. */
type MakeChecker = (backend: LiveBackend, parts: CheckerParts) => Checker;

/** Checks the backends of one registry. */
export class ActiveChecks {
  readonly #parts: ActiveCheckParts;
  readonly #settings: CheckSettings;
  readonly #makeChecker: MakeChecker;
  readonly #checked = new Map<LiveBackend, Checker>();
  readonly #verdicts = new WeakMap<LiveBackend, Verdict>();
  /** Ends of those that are checked no more. */
  readonly #ending = new Set<Promise<void>>();
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
    this.#makeChecker = checkerOf(check, parts);
    this.#stop = parts.onChange(() => this.#reconcile());
    this.#reconcile();
  }

  #reconcile(): void {
    const present = new Set(this.#parts.backends());
    for (const [backend, checker] of this.#checked) {
      if (present.has(backend)) continue;
      this.#checked.delete(backend);
      const end = checker.close();
      this.#ending.add(end);
      void end.then(() => this.#ending.delete(end));
    }
    const { clock, random = Math.random } = this.#parts;
    const settings = this.#settings;
    for (const backend of present) {
      if (this.#checked.has(backend)) continue;
      const verdict = new Verdict(backend, settings, this.#parts.standing?.(backend));
      this.#verdicts.set(backend, verdict);
      const parts = { clock, random, settings, verdict };
      this.#checked.set(backend, this.#makeChecker(backend, parts));
    }
  }

  /** What the checks of a backend have said so far. */
  standing(backend: LiveBackend): Standing | undefined {
    return this.#verdicts.get(backend)?.standing;
  }

  /** Checks no more; resolves when nothing is under way. */
  async close(): Promise<void> {
    this.#stop();
    const ends = [...this.#checked.values()].map((checker) => checker.close());
    this.#checked.clear();
    await Promise.all([...ends, ...this.#ending]);
  }
}

function checkerOf(check: HealthCheck, parts: ActiveCheckParts): MakeChecker {
  if (check.type !== "grpc-watch") {
    const probe = makeProbe(check, parts);
    return (backend, parts) => new Checked(backend, { ...parts, probe });
  }
  const watch = parts.grpcWatch(check.service);
  const probe = parts.grpc(check.service);
  return (backend, parts) => new Watched(backend, { ...parts, watch, probe });
}

function makeProbe(
  check: Exclude<HealthCheck, { type: "grpc-watch" }>,
  { connect, caCerts, grpc }: ActiveCheckParts,
): Probe {
  if (check.type === "grpc") return grpc(check.service);
  return async (backend, { timeout, signal }) => {
    const duplex = await openWatched(backend.connectWatch, () =>
      connect(backend.address, {
        timeout,
        ...(caCerts === undefined ? {} : { caCerts }),
      }));
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
