/**
 * What checks together say of a backend.
 *
 * @module
 */
import { getLogger } from "../../observe/logger.ts";
import type { LiveBackend } from "../backend.ts";
import type { Standing } from "../knowledge.ts";
import type { CheckSettings } from "./check.ts";

const log = getLogger("health");

/** Counts the checks of one backend, and tells its health and the log when they change their mind. */
export class Verdict {
  readonly #backend: LiveBackend;
  readonly #settings: Pick<CheckSettings, "rise" | "fall">;
  /** Whether anything has been said. */
  #known = false;
  /** Why it is not well; `undefined` while it is. */
  #reason: string | undefined;
  /** Results in a row that say the opposite. */
  #inRow = 0;

  /**
   * Takes a backend for well, unless checks before have said something.
   *
   * @param standing What they have said, of which the backend's health knows.
   */
  constructor(
    backend: LiveBackend,
    settings: Pick<CheckSettings, "rise" | "fall">,
    standing?: Standing,
  ) {
    this.#backend = backend;
    this.#settings = settings;
    if (standing === undefined) return;
    this.#known = true;
    this.#reason = standing.reason;
    this.#inRow = standing.inRow;
  }

  /** What checks have said so far, for those who go on with them; `undefined` when none has ended. */
  get standing(): Standing | undefined {
    return this.#known ? { reason: this.#reason, inRow: this.#inRow } : undefined;
  }

  /** Whether the backend is well. */
  get passing(): boolean {
    return this.#reason === undefined;
  }

  /** Whether the last check said the opposite. */
  get disputed(): boolean {
    return this.#inRow > 0;
  }

  /**
   * A check has ended. The very first decides alone; later it takes `fall` or `rise` of them in a row.
   *
   * @param reason Why it failed, if it did.
   */
  count(reason: string | undefined): void {
    const passed = reason === undefined;
    this.#inRow = passed === this.passing ? 0 : this.#inRow + 1;
    const needed = !this.#known ? 1 : this.passing ? this.#settings.fall : this.#settings.rise;
    this.#known = true;
    if (this.#inRow >= needed) this.#set(reason);
    else if (!passed && !this.passing && reason !== this.#reason) {
      // Nothing changes but why, which whoever lists the backends wants to know as it is now.
      this.#reason = reason;
      this.#backend.health.fail(reason);
    }
  }

  /**
   * The backend itself says how it is; nothing is counted.
   *
   * @param reason Why it is not well, if it is not.
   */
  decide(reason: string | undefined): void {
    this.#known = true;
    this.#inRow = 0;
    if (reason !== this.#reason) this.#set(reason);
  }

  #set(reason: string | undefined): void {
    this.#reason = reason;
    this.#inRow = 0;
    const { addr, health } = this.#backend;
    if (reason === undefined) {
      log.info("a backend is healthy again", { backend: addr });
      health.pass();
    } else {
      log.warning("a backend fails its health checks", { backend: addr, reason });
      health.fail(reason);
    }
  }
}
