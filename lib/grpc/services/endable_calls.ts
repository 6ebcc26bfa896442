/**
 * Calls that last until somebody ends them: watches, registrations, reflection that is kept open. When the
 * balancer is about to end it must not wait for them, so they are told to go.
 *
 * @module
 */
import type {
  sendUnaryData,
  ServerUnaryCall,
  ServiceDefinition,
  UntypedHandleCall,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { GrpcStatus } from "../status.ts";

/** How long calls that are answered once have for that, in milliseconds. */
const ANSWER_MS = 1_000;

/** What such calls end with; clients of gRPC connect again then. */
const GONE = { code: GrpcStatus.Unavailable, details: "The load balancer is shutting down." };

/** What all kinds of calls have, as far as it is needed here. */
interface Emitter {
  on(event: "cancelled" | "close", listener: () => void): unknown;
  emit(event: "error", error: unknown): unknown;
}

/** The calls of one server that have not ended. */
export class EndableCalls {
  readonly #streams = new Set<Emitter>();
  readonly #waiting = new Set<() => void>();
  #ending = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** The same service, with an eye on its calls. */
  wrap(
    definition: ServiceDefinition,
    implementation: UntypedServiceImplementation,
  ): UntypedServiceImplementation {
    return Object.fromEntries(
      Object.entries(implementation).map(([name, handle]) => [
        name,
        definition[name]?.responseStream === true
          ? this.#wrapStream(handle)
          : this.#wrapUnary(handle),
      ]),
    );
  }

  #wrapStream(handle: UntypedHandleCall): UntypedHandleCall {
    const inner = handle as (call: Emitter) => void;
    return ((call: Emitter): void => {
      if (this.#ending) return void call.emit("error", GONE);
      this.#streams.add(call);
      const forget = () => void this.#streams.delete(call);
      call.on("cancelled", forget);
      call.on("close", forget);
      inner(call);
    }) as UntypedHandleCall;
  }

  #wrapUnary(handle: UntypedHandleCall): UntypedHandleCall {
    type Unary = (
      call: ServerUnaryCall<unknown, unknown>,
      callback: sendUnaryData<unknown>,
    ) => void;
    const inner = handle as Unary;
    const wrapped: Unary = (call, callback) => {
      const fail = () => answer(GONE);
      const answer: sendUnaryData<unknown> = (...result) => {
        if (this.#waiting.delete(fail)) callback(...result);
      };
      this.#waiting.add(fail);
      call.on("cancelled", () => this.#waiting.delete(fail));
      inner(call, answer);
    };
    return wrapped;
  }

  /** Ends the streams, and soon the rest. */
  end(): void {
    if (this.#ending) return;
    this.#ending = true;
    for (const call of [...this.#streams]) call.emit("error", GONE);
    this.#timer = setTimeout(() => {
      for (const fail of [...this.#waiting]) fail();
    }, ANSWER_MS);
  }

  /** Leaves the rest to its fate. */
  close(): void {
    clearTimeout(this.#timer);
  }
}
