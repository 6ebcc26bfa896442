/**
 * Backends that are in for as long as they keep a stream open: `lb.LoadBalancer/Register`.
 *
 * @module
 */
import type { handleBidiStreamingCall, ServerDuplexStream } from "@grpc/grpc-js";
import { type AnyCall, toStatus } from "./grpc_call.ts";
import {
  type BackendMessage,
  encodeBackend,
  parseAddL4,
  parseAddL7,
  type WireAddL4,
  type WireAddL7,
} from "./grpc_messages.ts";
import type { HeldBackends } from "./held_backends.ts";
import type { Management } from "./management.ts";
import { ManagementError } from "./management_error.ts";
import type { AddResult, Caller } from "./model.ts";

interface RegisterRequest {
  readonly add_l4?: WireAddL4;
  readonly add_l7?: WireAddL7;
  readonly weight?: number;
  readonly drain?: unknown;
}

type RegisterResponse =
  | { readonly added: AddResult }
  | { readonly changed: BackendMessage }
  | { readonly drained: BackendMessage };

type RegisterCall = ServerDuplexStream<RegisterRequest, RegisterResponse>;

/** All registrations of one balancer. */
export class Registrations {
  readonly #management: Management;
  readonly #held: HeldBackends;
  readonly #admit: (call: AnyCall) => Caller;

  /** Nobody is registered yet. `admit` throws for callers that may not. */
  constructor(
    management: Management,
    held: HeldBackends,
    admit: (call: AnyCall) => Caller,
  ) {
    this.#management = management;
    this.#held = held;
    this.#admit = admit;
  }

  /** Answers the calls. */
  readonly handler: handleBidiStreamingCall<RegisterRequest, RegisterResponse> = (call) => {
    try {
      new Registration(call, this.#management, this.#admit(call), this);
    } catch (error) {
      call.emit("error", toStatus(error));
    }
  };

  /** Another stream has added a backend; whether it was `created` by that. Says whether it must {@linkcode leave}. */
  hold(id: string, created: boolean): boolean {
    return this.#held.hold(id, created);
  }

  /** A stream has ended that held a backend; with the last one the backend is removed. */
  leave(id: string, caller: Caller): void {
    if (this.#held.leave(id)) this.#management.removeHeld(id, caller);
  }
}

/** One stream. */
class Registration {
  readonly #call: RegisterCall;
  readonly #management: Management;
  readonly #caller: Caller;
  readonly #all: Registrations;
  #id: string | undefined;
  #holds = false;
  #ended = false;

  constructor(
    call: RegisterCall,
    management: Management,
    caller: Caller,
    all: Registrations,
  ) {
    this.#call = call;
    this.#management = management;
    this.#caller = caller;
    this.#all = all;
    call.on("data", (request: RegisterRequest) => this.#onRequest(request));
    call.on("end", () => {
      this.#leave();
      call.end();
    });
    call.on("cancelled", () => this.#leave());
    call.on("close", () => this.#leave());
  }

  #onRequest(request: RegisterRequest): void {
    if (this.#ended) return;
    try {
      this.#handle(request);
    } catch (error) {
      this.#leave();
      this.#call.emit("error", toStatus(error));
    }
  }

  #handle(request: RegisterRequest): void {
    const { add_l4, add_l7, weight, drain } = request;
    const management = this.#management;
    if (add_l4 !== undefined || add_l7 !== undefined) {
      if (this.#id !== undefined) {
        throw new ManagementError(
          "invalid_argument",
          "a backend was added before; accepted are now weight and drain",
          add_l4 === undefined ? "add_l7" : "add_l4",
        );
      }
      if (add_l4 === undefined) management.requireL7();
      const known = new Set(
        [...management.listBackends(), ...management.listNames()].map(({ id }) => id),
      );
      const added = add_l4 === undefined
        ? management.addL7(parseAddL7(add_l7!), this.#caller)
        : management.addL4(parseAddL4(add_l4), this.#caller);
      this.#id = added.id;
      this.#holds = this.#all.hold(added.id, !known.has(added.id));
      this.#call.write({ added });
    } else if (weight !== undefined) {
      const info = management.setWeight(this.#added("weight"), weight, this.#caller);
      this.#call.write({ changed: encodeBackend(info) });
    } else if (drain !== undefined) void this.#drain(this.#added("drain"));
    else {
      throw new ManagementError(
        "invalid_argument",
        "the message is empty; accepted is one of add_l4, add_l7, weight and drain",
      );
    }
  }

  #added(field: string): string {
    if (this.#id !== undefined) return this.#id;
    throw new ManagementError(
      "failed_precondition",
      "no backend was added; accepted is add_l4 or add_l7 first",
      field,
    );
  }

  #drain(id: string): Promise<void> {
    const info = this.#management.drain(id, this.#caller);
    return this.#management.whenIdle(id).then(() => {
      if (this.#ended) return;
      this.#call.write({ drained: encodeBackend({ ...info, in_flight: 0 }) });
    });
  }

  #leave(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#holds) this.#all.leave(this.#id!, this.#caller);
  }
}
