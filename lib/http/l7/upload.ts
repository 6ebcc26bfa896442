/**
 * What is left of a request's body once its head has been sent: it goes to the backend while the answer is already
 * waited for.
 *
 * @module
 */
import type { UpstreamConnection } from "../../backend/h1_pool.ts";
import type { ErrorCode } from "../../common/errors.ts";
import { ByteWriter } from "../h1/writer.ts";
import { isIdempotent } from "../methods.ts";
import type { AttemptParts } from "./attempt_parts.ts";
import { BodyRate } from "./body_rate.ts";
import type { TransferEnd, TransferWatcher } from "./body_transfer.ts";

/** The attempt that an upload belongs to. */
export interface Uploader extends TransferWatcher {
  /** All of the body has been sent. */
  onUploaded(): void;
  /** Gives up. */
  expire(code: ErrorCode): void;
}

/** The rest of one request's body on its way to one backend. */
export class Upload {
  /** How it ended, if it has. */
  end: TransferEnd | undefined;
  readonly #parts: AttemptParts;
  readonly #uploader: Uploader;
  /** How fast the body must come, if that matters. */
  readonly #rate: BodyRate | undefined;
  /** Whether the attempt has ended. */
  #over = false;
  /** Where what was kept of the body ended then; -1 when not all of it was kept. */
  #keptEnd = -1;

  /** An upload; {@linkcode run} makes it. */
  constructor(parts: AttemptParts, uploader: Uploader) {
    const { bodyRate, clock } = parts.connection.context;
    this.#parts = parts;
    this.#uploader = uploader;
    this.#rate = bodyRate && new BodyRate(bodyRate, clock);
  }

  /** Whether all of the body has been sent. */
  get done(): boolean {
    return this.end?.type === "done";
  }

  /** Where the request ends in the buffer if all of it was kept there; or else -1. */
  get replayEnd(): number {
    if (!this.done) return -1;
    return this.#over ? this.#keptEnd : this.#parts.transfer.kept?.at ?? -1;
  }

  /**
   * What follows is kept behind what has been sent, as far as it fits, so that it can be sent again.
   *
   * @param firstEnd Where what has been sent ends in the buffer.
   */
  keep(firstEnd: number): void {
    const { transfer, out, facts } = this.#parts;
    if (!isIdempotent(facts.method)) return;
    const kept = transfer.kept = new ByteWriter(out.buffer);
    kept.at = firstEnd;
  }

  /** Sends the body; {@linkcode end} says then how that ended. Never rejects. */
  async run(upstream: UpstreamConnection): Promise<void> {
    const { connection, transfer, tally } = this.#parts;
    const end = this.end = await transfer.run(upstream.duplex, this.#uploader);
    if (end.type === "done") this.#uploader.onUploaded();
    else if (end.type !== "sink") {
      // Half a request must not look like a whole one. A failed sink may still have answered.
      if (connection.reader.ended?.type === "error") tally.gone = true;
      upstream.duplex.close();
    }
  }

  /** How long what is waited for next may take, in milliseconds, where that is `bodyStall` at most. */
  measure(bodyStall: number): number {
    if (this.#rate === undefined) return bodyStall;
    const { connection: { reader }, transfer } = this.#parts;
    const came = transfer.waiting === "source";
    const left = this.#rate.next(came, transfer.bytes + reader.available);
    if (came && left <= 0) this.#uploader.expire("body_timeout");
    // What has come goes to the backend next, and how long that takes is not the client's fault.
    return came ? bodyStall : Math.min(bodyStall, Math.max(left, 0));
  }

  /** The attempt has ended. What is left may still move, when the buffer is another's. */
  stop(): void {
    const { transfer } = this.#parts;
    this.#over = true;
    if (transfer.kept !== undefined) this.#keptEnd = transfer.kept.at;
    transfer.kept = undefined;
  }
}
