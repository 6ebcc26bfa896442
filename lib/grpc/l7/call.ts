/**
 * One call (or any other HTTP/2 request) at layer 7: a stream of a client joined with a stream of the
 * backend that was picked for it.
 *
 * Both windows are coupled: bytes are granted to one side when they have been framed for the other, so
 * a slow receiver stops the sender, and no more than one stream window of each side is held.
 *
 * The deadline that a client gives is the backend's to keep, and the client's. It is kept here too, a moment
 * later, for backends that do not answer any more and clients that are gone without a word.
 *
 * @module
 */
import type { ErrorCode } from "../../common/errors.ts";
import type { Forwarding } from "../../http/forwarded.ts";
import { H2Code } from "../../http/h2/errors.ts";
import type { FieldList } from "../../http/h2/hpack/field_list.ts";
import type { H2RequestHead } from "../../http/h2/request_head.ts";
import type { H2Stream, StreamListener, StreamReset } from "../../http/h2/stream.ts";
import type { ProxyPlan } from "../../http/l7/plan.ts";
import { clientAddress } from "../../http/l7/rate_limit.ts";
import { answerTo } from "../../http/problem.ts";
import { NO_STATUS } from "../../observe/grpc_metrics.ts";
import { getLogger } from "../../observe/logger.ts";
import { encodeGrpcError, encodeGrpcTrailers, encodeHttpError } from "../respond.ts";
import { GrpcStatus, statusOf, statusOfReset } from "../status.ts";
import type { AttemptedCall } from "./attempted_call.ts";
import { CallAttempts } from "./attempts.ts";
import { CallRecord } from "./call_record.ts";
import type { GrpcContext } from "./context.ts";
import { CallDeadline, readTimeout } from "./deadline.ts";
import { encodeOwnRequest, encodeRequest, encodeResponse } from "./encode.ts";
import { RequestBody } from "./request_body.ts";

const log = getLogger("grpc");

/** One call. It listens to the client's stream; its {@linkcode CallAttempts} listen to the backend's. */
export class GrpcCall implements StreamListener, AttemptedCall {
  readonly context: GrpcContext;
  readonly record: CallRecord;
  readonly body: RequestBody;
  deadline: CallDeadline | undefined;
  finished = false;
  readonly #forwarding: Forwarding;
  readonly #down: H2Stream;
  /** Made when it is known where the call goes. */
  #attempts: CallAttempts | undefined;

  /**
   * Begins a call, whose head is used before the constructor returns.
   *
   * @param endStream Whether the request has no body.
   * @param refused Whether the head must be answered with its error.
   */
  constructor(
    context: GrpcContext,
    { stream, head, forwarding, endStream, refused }: {
      readonly stream: H2Stream;
      readonly head: H2RequestHead;
      readonly forwarding: Forwarding;
      readonly endStream: boolean;
      readonly refused: boolean;
    },
  ) {
    this.context = context;
    this.#forwarding = forwarding;
    this.#down = stream;
    this.body = new RequestBody(stream, endStream);
    this.record = new CallRecord(
      context,
      refused ? undefined : head,
      forwarding.client.address,
      head.grpc,
    );
    if (refused) this.answer(head.error);
    else this.#begin(head);
  }

  #begin(head: H2RequestHead): void {
    const { services, clock, keyOf, isTrusted } = this.context;
    const { client } = this.#forwarding;
    let timeoutField = -1;
    if (this.record.grpc) {
      const field = readTimeout(head.fields);
      if (field.type === "malformed") return this.answer("bad_timeout");
      if (field.type === "timeout") {
        if (field.ms === 0) return this.answer("deadline_exceeded");
        timeoutField = field.index;
        this.deadline = new CallDeadline(clock, {
          started: this.record.started,
          timeout: field.ms,
          onExpired: () => this.expire(),
        });
      }
    }
    if (services?.claims(head.path)) {
      const block = encodeOwnRequest(head, client.address);
      this.#attempts = new CallAttempts(this, block);
      return this.#attempts.beginOwn(services);
    }
    const plan = this.context.planner.plan(head, client.scheme);
    if (plan.rate !== undefined) {
      const wait = plan.rate.take(head, this.#forwarding, this.record.started);
      if (wait > 0) {
        if (plan.type === "proxy") this.record.routed(plan);
        return this.answer("rate_limited", wait);
      }
    }
    switch (plan.type) {
      case "proxy": {
        this.record.routed(plan);
        const block = encodeRequest(head, { plan, forwarding: this.#forwarding, timeoutField });
        const key = keyOf?.(head, clientAddress(head, this.#forwarding, isTrusted));
        this.#attempts = new CallAttempts(this, block);
        return this.#attempts.begin(plan, key);
      }
      case "bad_path":
        return this.answer("bad_target");
      case "redirect":
      case "no_route":
        return this.answer("no_route");
    }
  }

  onHead(): void {
    // A client sends one head, and with that the call began.
  }

  onData(bytes: Uint8Array, start: number, end: number, endStream: boolean): void {
    this.record.received(bytes, start, end);
    if (this.finished) {
      this.body.ended ||= endStream;
      this.#down.consume(end - start);
      return;
    }
    this.body.take(bytes, start, end, endStream);
  }

  onTrailers(fields: FieldList): void {
    if (this.finished) this.body.ended = true;
    else this.body.end(encodeResponse(fields, undefined));
  }

  onReset(reset: StreamReset): void {
    const { stalled, aborted } = reset;
    if (stalled) {
      // The call may be over by then: what waits is the end of an answer.
      this.context.metrics.refused("client_stalled");
      const client = this.#forwarding.client.address;
      log.info("a client does not take its answer", { client, detail: reset.detail });
    }
    if (this.finished) return;
    if (stalled) this.record.error = "client_stalled";
    else if (aborted) this.record.error = "shutdown";
    else {
      this.record.error = "client_closed";
      log.debug("a client cancelled", { detail: reset.detail });
    }
    this.#attempts?.up?.reset(H2Code.Cancel);
    if (this.deadline?.isDue) this.finish(GrpcStatus.DeadlineExceeded);
    else this.finish(stalled ? statusOfReset(reset.code) : GrpcStatus.Cancelled);
  }

  onSent(count: number): void {
    this.#attempts?.up?.consume(count);
  }

  relayFields(fields: FieldList, changes: ProxyPlan["responseChanges"], endStream: boolean): void {
    this.#down.sendHeaders(encodeResponse(fields, changes), endStream);
  }

  relayData(bytes: Uint8Array, start: number, end: number, endStream: boolean): number {
    this.record.sent(bytes, start, end);
    return this.#down.sendData(bytes, start, end, endStream);
  }

  /** RFC 9113, section 8.1: a server that has answered in full may ask the client to stop sending. */
  endRequest(): void {
    if (!this.body.ended) this.#down.endEarly();
  }

  reset({ connectionLost, stalled, code }: StreamReset, error: ErrorCode): void {
    this.record.error = error;
    if ((connectionLost || stalled) && this.record.grpc) return this.breakOff(error);
    this.#down.reset(connectionLost ? H2Code.InternalError : code);
    this.finish(statusOfReset(code));
  }

  /** The deadline has passed, and neither the backend nor the client has ended the call. */
  expire(): void {
    if (this.finished) return;
    const code = "deadline_exceeded";
    log.debug("a call has passed its deadline", { backend: this.#attempts?.backend?.addr ?? "" });
    this.#attempts?.expire();
    if (this.#attempts?.responded) return this.breakOff(code);
    this.answer(code);
  }

  /** The head of the answer has gone, so the status is said behind what has come of the answer. */
  breakOff(code: ErrorCode): void {
    this.record.error = code;
    this.#down.sendHeaders(encodeGrpcTrailers(code), true);
    this.endRequest();
    this.finish(statusOf(code));
  }

  /**
   * Answers an error of our own.
   *
   * @param wait In how many milliseconds trying again makes sense, where that is known.
   */
  answer(code: ErrorCode, wait?: number): void {
    const record = this.record;
    const { grpc } = record;
    record.error = code;
    this.context.metrics.refused(code);
    record.httpStatus = grpc ? 200 : answerTo(code).status;
    this.#down.sendHeaders(grpc ? encodeGrpcError(code, wait) : encodeHttpError(code, wait), true);
    this.endRequest();
    this.finish(grpc ? statusOf(code) : NO_STATUS);
  }

  /** @param status The status that the client of a gRPC call gets. */
  finish(status: number): void {
    if (this.finished) return;
    this.finished = true;
    this.body.close();
    this.deadline?.stop();
    this.#attempts?.close();
    this.record.end(status);
  }
}
