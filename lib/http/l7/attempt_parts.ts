/**
 * What an attempt is told, what it tells, and what follows.
 *
 * @module
 */
import type { Lease, LiveBackend } from "../../backend/backend.ts";
import type { UpstreamStats } from "../../observe/metrics.ts";
import type { CompiledChanges } from "../field_changes.ts";
import type { ByteWriter } from "../h1/writer.ts";
import type { BodyTransfer } from "./body_transfer.ts";
import type { Downstream } from "./downstream.ts";
import type { ProxyPlan } from "./plan.ts";

/** What is known of a request once its head is gone. */
export interface RequestFacts {
  /** The method as sent. */
  readonly method: string;
  /** Whether the client speaks HTTP/1.0: no chunked, no interim responses. */
  readonly http10: boolean;
  /** Whether the client's connection may carry another request. */
  readonly keep: boolean;
  /** Whether the client offers to switch protocols. */
  readonly upgrade: boolean;
  /** Whether the client waits for `100 Continue`. */
  readonly expectContinue: boolean;
}

/** What has happened so far, over all attempts. */
export interface Tally {
  /** A byte of the final answer has gone out, so nothing else can be said or tried any more. */
  responded: boolean;
  /** The client's connection failed. */
  gone: boolean;
  /** The final status; 0 while there is none. */
  status: number;
  /** Bytes received from the client. */
  bytesIn: number;
  /** Bytes sent to the client. */
  bytesOut: number;
}

/** A request that has come, to whatever is done for it. */
export interface ReceivedRequest {
  /** The client's connection. */
  readonly connection: Downstream;
  /** The request. */
  readonly facts: RequestFacts;
  /** What has happened so far. */
  readonly tally: Tally;
  /** When its head had come, a time of the clock. */
  readonly started: number;
}

/** Where an answer comes from. */
export interface AnswerSource {
  /** The backend's lease, which is told. */
  readonly lease: Lease;
  /** What the backend is counted in. */
  readonly stats: UpstreamStats;
}

/** What an attempt is made of. */
export interface AttemptParts extends ReceivedRequest {
  /** The request's body. */
  readonly transfer: BodyTransfer;
  /** Where the request goes and what changes. */
  readonly plan: ProxyPlan;
  /** The request's head, and as much of its body as fits; later the response's. */
  readonly out: ByteWriter;
  /**
   * How long an attempt that has sent its request now may take until the head of its answer comes, in milliseconds.
   */
  readonly patience: number;
  /** Whether the answer may still come, as far as all attempts together are concerned. */
  readonly hurried: boolean;
  /** Changes of the answer's fields. */
  responseChanges: CompiledChanges | undefined;
  /**
   * Whether an answer with this status is thrown away, because the request is sent to another backend. Asked once, before
   * anything of the answer has been passed on.
   */
  replaces(status: number): boolean;
  /** Sets the deadline of what the attempt waits for, in milliseconds from now. */
  arm(delay: number): void;
  /** The attempt has got a head that is passed on to the client. No other one is needed any more. */
  onAnswer(): void;
  /** The attempt has failed; told in the same turn, before its promise rejects. */
  onFailed(error: unknown): void;
}

/** Another attempt. */
export interface NextAttempt {
  readonly type: "try";
  /** Where; `undefined` when all backends that may have it are at their limit. */
  readonly backend: LiveBackend | undefined;
  /** Whether a pooled connection is out of the question. */
  readonly fresh: boolean;
  /** Milliseconds to wait before. */
  readonly wait: number;
}

/** What follows from the failure of an attempt. */
export type Next = NextAttempt | { readonly type: "give_up"; readonly error: unknown };
