/**
 * One call (or any other HTTP/2 request) at layer 7: a stream of a client joined with a stream of the
 * backend that was picked for it.
 *
 * Both windows are coupled: bytes are granted to one side when they have been framed for the other, so
 * a slow receiver stops the sender, and no more than one stream window of each side is held.
 *
 * @module
 */
import type { Lease, LiveBackend } from "../../backend/backend.ts";
import { describeError, type ErrorCode, ProxyError } from "../../common/errors.ts";
import type { Forwarding } from "../../http/forwarded.ts";
import type { H2Connection } from "../../http/h2/connection.ts";
import { H2Code } from "../../http/h2/errors.ts";
import type { FieldList } from "../../http/h2/hpack/field_list.ts";
import type { H2RequestHead } from "../../http/h2/request_head.ts";
import type { H2ResponseHead } from "../../http/h2/response_head.ts";
import type { H2Stream, StreamListener, StreamReset } from "../../http/h2/stream.ts";
import { NO_ROUTE, type ProxyPlan } from "../../http/l7/plan.ts";
import { answerTo } from "../../http/problem.ts";
import { getLogger } from "../../observe/logger.ts";
import { encodeGrpcError, encodeGrpcTrailers, encodeHttpError } from "../respond.ts";
import type { GrpcContext } from "./context.ts";
import { encodeOwnRequest, encodeRequest, encodeResponse } from "./encode.ts";

/** Bytes of a request that are kept so that it can be sent to another backend. */
const REPLAY_LIMIT = 16 * 1024;

const log = getLogger("grpc");

/** At layer 4, the backend that all calls of one client connection go to, once one has been reached. */
export interface Binding {
  /** The backend. */
  backend: LiveBackend | undefined;
}

/** What the client said, kept for the log. */
interface CallFacts {
  readonly method: string;
  readonly target: string;
  readonly authority: string;
  readonly grpc: boolean;
  readonly userAgent: string;
}

/** What opens connections. */
interface Connections {
  acquire(): Promise<H2Connection>;
}

/** Listens to the client's stream of a call. */
class ClientSide implements StreamListener {
  readonly #call: GrpcCall;

  constructor(call: GrpcCall) {
    this.#call = call;
  }

  onHead(): void {}

  onData(bytes: Uint8Array, start: number, end: number, endStream: boolean): void {
    this.#call.onRequestData(bytes, start, end, endStream);
  }

  onTrailers(fields: FieldList): void {
    this.#call.onRequestTrailers(fields);
  }

  onReset(reset: StreamReset): void {
    this.#call.onClientReset(reset);
  }

  onSent(count: number): void {
    this.#call.onResponseSent(count);
  }
}

/** One call. It listens to the backend's stream; {@linkcode fromClient} listens to the client's. */
export class GrpcCall implements StreamListener {
  readonly #context: GrpcContext;
  readonly #forwarding: Forwarding;
  readonly #down: H2Stream;
  readonly #facts: CallFacts;
  readonly #binding: Binding | undefined;
  readonly #started: number;
  #plan: ProxyPlan | undefined;
  #block: Uint8Array | undefined;
  #up: H2Stream | undefined;
  #backend: LiveBackend | undefined;
  #lease: Lease | undefined;
  #tried: Set<LiveBackend> | undefined;
  #attempts = 0;
  /** What came of the request's body and may have to be sent (again). */
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  /** Whether all of the body so far is held, so that the call can begin anew. */
  #replayable = true;
  #requestEnded = false;
  #requestTrailers: Uint8Array | undefined;
  /** Bytes of the body that the present attempt has framed, and the most that any attempt has. */
  #sent = 0;
  #granted = 0;
  #responded = false;
  #finished = false;
  #status = 0;
  #grpcStatus = -1;
  #bytesIn = 0;
  #bytesOut = 0;
  #error: ErrorCode | "" = "";

  /** Told what the client sends. */
  readonly fromClient: StreamListener = new ClientSide(this);

  /**
   * Begins a call, whose head is used before the constructor returns.
   *
   * @param endStream Whether the request has no body.
   * @param refused Whether the head must be answered with its error.
   */
  constructor(
    context: GrpcContext,
    { stream, head, forwarding, endStream, refused, binding }: {
      readonly stream: H2Stream;
      readonly head: H2RequestHead;
      readonly forwarding: Forwarding;
      readonly endStream: boolean;
      readonly refused: boolean;
      readonly binding: Binding | undefined;
    },
  ) {
    this.#context = context;
    this.#forwarding = forwarding;
    this.#down = stream;
    this.#binding = binding;
    this.#started = context.clock.now();
    this.#requestEnded = endStream;
    // What only the log wants is not decoded without one.
    const logged = context.accessLog !== undefined;
    this.#facts = refused ? UNKNOWN : {
      method: head.method,
      target: logged ? head.target : "",
      authority: logged ? head.authority : "",
      grpc: head.grpc,
      userAgent: logged ? head.header("user-agent") ?? "" : "",
    };
    if (refused) this.#answer(head.error);
    else this.#begin(head);
  }

  #begin(head: H2RequestHead): void {
    const { services } = this.#context;
    if (services?.claims(head.path)) {
      this.#block = encodeOwnRequest(head, this.#forwarding.client.address);
      const connection = services.take();
      if (connection !== undefined) return this.#open(connection);
      return this.#openLater(services);
    }
    const plan = this.#context.planner.plan(head, this.#forwarding.client.scheme);
    switch (plan.type) {
      case "proxy":
        this.#plan = plan;
        this.#block = encodeRequest(head, plan, this.#forwarding);
        return this.#attempt(plan);
      case "bad_path":
        return this.#answer("bad_target");
      case "redirect":
      case "no_route":
        return this.#answer("no_route");
    }
  }

  /** @param failed What is answered when there is no backend that has not been tried. */
  #attempt(plan: ProxyPlan, failed: ErrorCode = "no_backend"): void {
    const tried = this.#tried;
    const backend = this.#binding?.backend ??
      (tried === undefined
        ? plan.pool.pick()
        : plan.pool.pick((member) => tried.has(member.backend)));
    if (backend === undefined) return this.#answer(failed);
    this.#backend = backend;
    this.#lease = backend.acquire();
    this.#sent = 0;
    const stats = this.#context.metrics.upstream(backend.id);
    stats.attempts++;
    if (++this.#attempts > 1) stats.retries++;
    const connection = backend.h2.take();
    if (connection !== undefined) {
      stats.reuses++;
      this.#open(connection);
      return;
    }
    stats.connects++;
    this.#openLater(backend.h2);
  }

  /** Opens the stream when there is a connection that still takes it: several calls may wait for the same. */
  #openLater(pool: Connections): void {
    pool.acquire().then(
      (connection) => {
        if (this.#finished) return;
        if (connection.available) this.#open(connection);
        else this.#openLater(pool);
      },
      (error) => this.#onConnectFailed(error),
    );
  }

  #open(connection: H2Connection): void {
    if (this.#binding !== undefined) this.#binding.backend ??= this.#backend;
    const held = this.#held;
    const endStream = this.#requestEnded && this.#heldBytes === 0 &&
      this.#requestTrailers === undefined;
    const stream = this.#up = connection.openStream(this.#block!, {
      endStream,
      noBody: this.#facts.method === "HEAD",
      listener: this,
    });
    if (endStream) return;
    const ends = this.#requestEnded && this.#requestTrailers === undefined;
    for (const [index, bytes] of held.entries()) {
      const last = ends && index === held.length - 1;
      this.onSent(stream.sendData(bytes, 0, bytes.length, last));
    }
    if (this.#requestTrailers !== undefined) stream.sendHeaders(this.#requestTrailers, true);
    if (!this.#replayable) this.#release();
  }

  /** Nothing of the body need be kept any more. */
  #release(): void {
    this.#replayable = false;
    this.#held = [];
    this.#heldBytes = 0;
  }

  #onConnectFailed(error: unknown): void {
    if (this.#finished) return;
    const known = error instanceof ProxyError
      ? error
      : new ProxyError("internal", "internal", "a call failed", { cause: error });
    log.warning("a backend was not reached", { error: describeError(known) });
    this.#fail(known.code, known.retry === "safe");
  }

  /** An attempt failed before anything of an answer came. */
  #fail(code: ErrorCode, safe: boolean): void {
    this.#up = undefined;
    const backend = this.#backend;
    if (backend === undefined) return this.#answer(code);
    this.#context.metrics.upstream(backend.id).failed(code);
    this.#lease!.release();
    const { maxAttempts } = this.#context;
    if (
      this.#binding?.backend === undefined && safe && this.#replayable &&
      this.#attempts < maxAttempts
    ) {
      (this.#tried ??= new Set()).add(backend);
      return this.#attempt(this.#plan!, code);
    }
    this.#answer(code);
  }

  /** Content of the request came. */
  onRequestData(bytes: Uint8Array, start: number, end: number, endStream: boolean): void {
    const count = end - start;
    this.#bytesIn += count;
    this.#requestEnded ||= endStream;
    if (this.#finished) {
      this.#down.consume(count);
      return;
    }
    const up = this.#up;
    if (this.#replayable) {
      if (up === undefined || this.#heldBytes + count <= REPLAY_LIMIT) {
        if (count > 0) this.#held.push(bytes.slice(start, end));
        this.#heldBytes += count;
      } else this.#release();
    }
    if (up !== undefined) this.onSent(up.sendData(bytes, start, end, endStream));
  }

  /** Trailers of the request came. */
  onRequestTrailers(fields: FieldList): void {
    this.#requestEnded = true;
    if (this.#finished) return;
    this.#requestTrailers = encodeResponse(fields, undefined).slice();
    this.#up?.sendHeaders(this.#requestTrailers, true);
  }

  /** The client cancelled, or its connection was lost. */
  onClientReset(reset: StreamReset): void {
    if (this.#finished) return;
    this.#error = "client_closed";
    log.debug("a client cancelled", { detail: reset.detail });
    this.#up?.reset(H2Code.Cancel);
    this.#finish();
  }

  /** Bytes of the response have been framed for the client. */
  onResponseSent(count: number): void {
    this.#up?.consume(count);
  }

  /** Bytes of the request have been framed for the backend. */
  onSent(count: number): void {
    this.#sent += count;
    // What is sent a second time has been granted already.
    if (this.#sent > this.#granted) {
      this.#down.consume(this.#sent - this.#granted);
      this.#granted = this.#sent;
    }
  }

  onHead(head: H2ResponseHead, endStream: boolean): void {
    if (this.#finished) return;
    if (!head.interim) {
      this.#responded = true;
      this.#status = head.status;
      this.#release();
      if (endStream) this.#readStatus(head.fields);
    }
    const changes = head.interim ? undefined : this.#plan?.responseChanges;
    this.#down.sendHeaders(encodeResponse(head.fields, changes), endStream);
    if (endStream) this.#onResponseEnd();
  }

  onData(bytes: Uint8Array, start: number, end: number, endStream: boolean): void {
    this.#bytesOut += end - start;
    this.#up!.consume(this.#down.sendData(bytes, start, end, endStream));
    if (endStream) this.#onResponseEnd();
  }

  onTrailers(fields: FieldList): void {
    this.#readStatus(fields);
    this.#down.sendHeaders(encodeResponse(fields, undefined), true);
    this.#onResponseEnd();
  }

  #readStatus(fields: FieldList): void {
    const value = fields.get("grpc-status");
    if (value !== undefined && /^\d{1,3}$/.test(value)) this.#grpcStatus = Number(value);
  }

  /** RFC 9113, section 8.1: a server that has answered in full may ask the client to stop sending. */
  #onResponseEnd(): void {
    if (!this.#requestEnded) this.#down.endEarly();
    // Nothing to do where all of the request has gone; else nobody reads the rest.
    this.#up?.reset(H2Code.NoError);
    this.#finish();
  }

  onReset(reset: StreamReset): void {
    if (this.#finished) return;
    if (!this.#responded) {
      const code = reset.connectionLost ? "upstream_closed" : "upstream_reset";
      if (reset.unprocessed || reset.connectionLost) return this.#fail(code, reset.unprocessed);
      if (this.#backend !== undefined) {
        this.#context.metrics.upstream(this.#backend.id).failed(code);
      }
    }
    const code = this.#error = reset.connectionLost ? "upstream_closed" : "upstream_reset";
    if (reset.connectionLost && this.#facts.grpc) {
      // The head has gone, so the status can still be said, behind what has come of the answer.
      this.#down.sendHeaders(encodeGrpcTrailers(code), true);
      if (!this.#requestEnded) this.#down.endEarly();
    } else {
      this.#down.reset(reset.connectionLost ? H2Code.InternalError : reset.code);
    }
    this.#finish();
  }

  /** Answers an error of our own. */
  #answer(code: ErrorCode): void {
    this.#error = code;
    this.#context.metrics.refused(code);
    const { grpc } = this.#facts;
    this.#status = grpc ? 200 : answerTo(code).status;
    this.#down.sendHeaders(grpc ? encodeGrpcError(code) : encodeHttpError(code), true);
    if (!this.#requestEnded) this.#down.endEarly();
    this.#finish();
  }

  #finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#held = [];
    this.#lease?.release();
    const { metrics, clock, accessLog } = this.#context;
    const route = this.#plan?.route ?? NO_ROUTE;
    const seconds = (clock.now() - this.#started) / 1000;
    metrics.requests(route, this.#backend?.id ?? "")
      .record(this.#status, seconds, this.#bytesIn, this.#bytesOut);
    accessLog?.write({
      time: Date.now(),
      listener: metrics.name,
      client: this.#forwarding.client.address,
      method: this.#facts.method,
      target: this.#facts.target,
      protocol: "HTTP/2.0",
      status: this.#status,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
      durationMs: seconds * 1000,
      route,
      backend: this.#backend?.addr ?? "",
      attempts: this.#attempts,
      requestId: "",
      host: this.#facts.authority,
      userAgent: this.#facts.userAgent,
      referer: "",
      error: this.#error,
    });
  }
}

const UNKNOWN: CallFacts = { method: "", target: "", authority: "", grpc: false, userAgent: "" };
