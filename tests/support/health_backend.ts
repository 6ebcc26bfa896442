/**
 * A backend on our own engine that says by `grpc.health.v1` whatever a test wants, or nothing.
 *
 * @module
 */
import { type Call, DONE, H2Backend, type H2BackendOptions, OK } from "./h2_peer.ts";

/** The numbers of health.proto. */
export const Status = { Unknown: 0, Serving: 1, NotServing: 2, ServiceUnknown: 3 } as const;

/** An answer of the service, framed. */
export function healthMessage(status: number): Uint8Array {
  // A field that is 0 is left out (proto3).
  return Uint8Array.from(status === 0 ? [0, 0, 0, 0, 0] : [0, 0, 0, 0, 2, 8, status]);
}

const UNIMPLEMENTED = [...OK, ["grpc-status", "12"], ["grpc-message", "no%20such"]] as const;

/** What becomes of a call of one method. */
type Answering = "answers" | "silent" | "unimplemented";

/** The backend; what it is told holds for the calls to come. */
export class HealthBackend implements AsyncDisposable {
  /** Its connections and calls. */
  readonly h2: H2Backend;
  /** What it says of every service. */
  status: number = Status.Serving;
  /** What becomes of `Watch`. */
  watch: Answering = "answers";
  /** What becomes of `Check`. */
  check: Answering = "answers";
  /** What `Check` says, if it is not the same. */
  checkStatus: number | undefined;
  /** What other calls are answered with. */
  readonly name: string;

  constructor(h2: H2Backend, name = "hello") {
    this.h2 = h2;
    this.name = name;
    h2.onCall = (call) => this.#serve(call);
  }

  /** A backend that listens on a port of its own. */
  static listen(name?: string, options?: H2BackendOptions): HealthBackend {
    return new HealthBackend(H2Backend.listen(options), name);
  }

  /** Where it listens: host and port. */
  get addr(): string {
    return this.h2.addr;
  }

  #serve(call: Call): void {
    if (!call.path.startsWith("/grpc.health.v1.Health/")) return call.answer(this.name);
    const watch = call.path.endsWith("/Watch");
    const answering = watch ? this.watch : this.check;
    if (answering === "silent") return;
    if (answering === "unimplemented") {
      return call.end(UNIMPLEMENTED);
    }
    call.head();
    call.send(healthMessage(watch ? this.status : this.checkStatus ?? this.status));
    if (!watch) call.end(DONE);
  }

  #calls(method: string): Call[] {
    return this.h2.calls.filter(({ path }) => path === `/grpc.health.v1.Health/${method}`);
  }

  /** How often `Watch` was called. */
  get watches(): number {
    return this.#calls("Watch").length;
  }

  /** How often `Check` was called. */
  get checks(): number {
    return this.#calls("Check").length;
  }

  /** The calls of `Watch` whose client is still there. */
  get streams(): Call[] {
    return this.#calls("Watch").filter(({ reset, trailers, stream }) =>
      reset === undefined && trailers === undefined && !stream.gone && !stream.localEnded
    );
  }

  /** Says something new on all streams. */
  say(status: number): void {
    this.status = status;
    for (const call of this.streams) call.send(healthMessage(status));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.h2[Symbol.asyncDispose]();
  }
}
