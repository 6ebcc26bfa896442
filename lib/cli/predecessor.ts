/**
 * The process whose place this one takes.
 *
 * @module
 */
import { describeError } from "../common/errors.ts";
import { LinuxSockets } from "../common/linux_sockets.ts";
import type { RunTimeChanges } from "../control/run_time_changes.ts";
import { getLogger } from "../observe/logger.ts";
import { CommandError } from "./command.ts";
import {
  HANDOVER_VARIABLE,
  HandoverChannel,
  type HandoverState,
  parseChanges,
  parseHandover,
  READY,
} from "./handover_channel.ts";

const log = getLogger("cli");

/** The process that waits for this one to serve. */
export class Predecessor implements Disposable {
  readonly #channel: HandoverChannel;
  /** What it passes on. */
  readonly state: HandoverState;

  private constructor(channel: HandoverChannel, state: HandoverState) {
    this.#channel = channel;
    this.state = state;
  }

  /**
   * Hears what it passes on; `undefined` when there is none.
   *
   * @throws {CommandError} When it cannot be understood.
   */
  static async meet(): Promise<Predecessor | undefined> {
    const path = Deno.env.get(HANDOVER_VARIABLE);
    if (path === undefined) return undefined;
    // What this process starts one day is not to look for it.
    Deno.env.delete(HANDOVER_VARIABLE);
    let channel: HandoverChannel | undefined;
    try {
      channel = new HandoverChannel(await Deno.connect({ transport: "unix", path }));
      const line = await channel.readLine();
      if (line === undefined) throw new Error("it ended before it said anything");
      return new Predecessor(channel, parseHandover(line));
    } catch (error) {
      channel?.[Symbol.dispose]();
      throw new CommandError(
        `the process before passes nothing on at ${HANDOVER_VARIABLE}=${path}: ${
          describeError(error)
        }`,
        { cause: error },
      );
    }
  }

  /** Closes sockets that nobody wants any more. */
  drop(unwanted: readonly number[]): void {
    if (unwanted.length === 0) return;
    using sockets = new LinuxSockets();
    for (const fd of unwanted) sockets.close(fd);
  }

  /**
   * Tells it that this process serves, so that it can go.
   *
   * @param apply Makes the changes that it has still made meanwhile, and makes until it is gone.
   */
  async ready(apply: (changes: RunTimeChanges) => void): Promise<void> {
    try {
      await this.#channel.writeLine(READY);
    } catch (error) {
      log.debug("the process before was killed; this one has what it had", {
        error: describeError(error),
      });
      return;
    }
    void this.#follow(apply);
  }

  async #follow(apply: (changes: RunTimeChanges) => void): Promise<void> {
    try {
      for (;;) {
        const line = await this.#channel.readLine();
        if (line === undefined) return;
        apply(parseChanges(JSON.parse(line)));
      }
    } catch (error) {
      log.warning("changes of the process before are not known here", {
        error: describeError(error),
      });
    }
  }

  /** Frees the connection to it. */
  [Symbol.dispose](): void {
    this.#channel[Symbol.dispose]();
  }
}
