/**
 * What the parts of one connection share.
 *
 * @module
 */
import type { Clock } from "../../common/clock.ts";
import { AbuseBudget, type AbuseToken, DEFAULT_BUDGET_LIMITS } from "./budget.ts";
import { type ConnectionError, connectionError, H2Code } from "./errors.ts";
import { MIN_MAX_FRAME_SIZE } from "./frames.ts";
import type { H2Handler, H2Options, Role } from "./options.ts";
import type { Outbox } from "./outbox.ts";
import { initialSettings, type Settings } from "./settings.ts";

/** What a {@linkcode Link} is made of. */
export interface LinkParts {
  /** Which side we are. */
  readonly role: Role;
  /** What is granted. */
  readonly options: H2Options;
  /** What is told. */
  readonly handler: H2Handler;
  /** For deadlines. */
  readonly clock: Clock;
  /** Where frames go. */
  readonly outbox: Outbox;
  /** Ends the connection with GOAWAY, because of what the peer did; whether it had not ended before. */
  readonly fail: (error: ConnectionError) => boolean;
}

/** What the parts of one connection share: who the two sides are, where frames go, and how it fails. */
export class Link {
  /** Which side we are. */
  readonly role: Role;
  /** What is granted. */
  readonly options: H2Options;
  /** What is told. */
  readonly handler: H2Handler;
  /** For deadlines. */
  readonly clock: Clock;
  /** Where frames go. */
  readonly outbox: Outbox;
  /** What the peer may make us do for nothing. */
  readonly budget: AbuseBudget;
  /** What the peer has told of itself. */
  readonly peer: Settings = initialSettings();
  /** Whether it has told anything: its first SETTINGS came. */
  ready = false;
  readonly #fail: LinkParts["fail"];

  /** Makes what the parts share. */
  constructor(parts: LinkParts) {
    this.role = parts.role;
    this.options = parts.options;
    this.handler = parts.handler;
    this.clock = parts.clock;
    this.outbox = parts.outbox;
    const { minPingInterval, permitIdlePings, fields } = parts.options;
    // A block that may be as large as that must be able to come, in frames of the size that all peers may send.
    const frames = Math.ceil(fields.maxBlock / MIN_MAX_FRAME_SIZE);
    const continuations = Math.max(DEFAULT_BUDGET_LIMITS.continuations, frames);
    this.budget = new AbuseBudget({ minPingInterval, permitIdlePings, continuations });
    this.#fail = parts.fail;
  }

  /** Ends the connection with GOAWAY; whether it had not ended before. */
  fail(error: ConnectionError): boolean {
    return this.#fail(error);
  }

  /** Takes an answer of the budget: with a token the connection ends, and the answer is `true`. */
  refuses(token: AbuseToken | undefined): boolean {
    if (token === undefined) return false;
    if (this.fail(connectionError(H2Code.EnhanceYourCalm, token))) this.handler.onAbuse?.(token);
    return true;
  }

  /** Lets a frame leave that the peer has caused; too many that wait end the connection. */
  queueControl(): void {
    this.outbox.schedule();
    this.refuses(this.budget.countQueued());
  }
}
