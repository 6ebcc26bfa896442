/**
 * Handing over when it is asked for, as often as it takes to succeed.
 *
 * @module
 */
import { describeError } from "../common/errors.ts";
import { getLogger } from "../observe/logger.ts";
import { handOver, type HandoverParts, type Successor } from "./handover.ts";

const log = getLogger("cli");

/** Who comes after this process. */
export class Succession {
  /** Resolves when another process serves. */
  readonly done: Promise<Successor>;
  readonly #resolve: (successor: Successor) => void;
  readonly #abort = new AbortController();
  #parts: HandoverParts | undefined;
  #pending: Promise<void> | undefined;
  #successor: Successor | undefined;

  /** Nobody comes yet. */
  constructor() {
    const { promise, resolve } = Promise.withResolvers<Successor>();
    this.done = promise;
    this.#resolve = resolve;
  }

  /** From now on this process serves and can hand over. */
  enable(parts: HandoverParts): void {
    this.#parts = parts;
  }

  /** Hands over; when that fails, everything is as before, and the log says why. */
  begin(): void {
    if (this.#pending !== undefined || this.#parts === undefined || this.#abort.signal.aborted) {
      log.warning("not handing over: this process begins, ends or hands over already");
      return;
    }
    this.#pending = this.#run(this.#parts);
  }

  async #run(parts: HandoverParts): Promise<void> {
    log.info("handing over to a new process");
    try {
      this.#successor = await handOver(parts, this.#abort.signal);
      this.#resolve(this.#successor);
    } catch (error) {
      this.#pending = undefined;
      log.error("nothing was handed over; this process goes on", { error: describeError(error) });
    }
  }

  /** Hands over no more, and gives up what is under way. Says who has taken the place of this process. */
  async settle(): Promise<Successor | undefined> {
    this.#abort.abort();
    await this.#pending;
    return this.#successor;
  }
}
