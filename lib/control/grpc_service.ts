/**
 * Management over gRPC: `lb.LoadBalancer`, the same use cases as over HTTP.
 *
 * @module
 */
import type {
  handleServerStreamingCall,
  handleUnaryCall,
  Metadata,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { CALLER_KEY } from "../grpc/l7/context.ts";
import type { AccessPolicy } from "./access.ts";
import { type Change, ChangeFeed } from "./change_feed.ts";
import { type AnyCall, toStatus } from "./grpc_call.ts";
import {
  type BackendMessage,
  type ChangeMessage,
  type ConflictMessage,
  encodeBackend,
  encodeRoute,
  parseAddL4,
  parseAddL7,
  type RouteMessage,
  type WireAddL4,
  type WireAddL7,
} from "./grpc_messages.ts";
import type { HeldBackends } from "./held_backends.ts";
import type { Management } from "./management.ts";
import { ManagementError } from "./management_error.ts";
import type { AddResult, Caller } from "./model.ts";
import { RefusalLog } from "./refusal_log.ts";
import { Registrations } from "./registrations.ts";

/** What {@linkcode makeManagementService} is made of. */
export interface ManagementServiceOptions {
  /** The use cases. */
  readonly management: Management;
  /** Who may call. */
  readonly access: AccessPolicy;
  /** Backends that registered themselves. */
  readonly held: HeldBackends;
  /** What backends define differently. */
  readonly conflicts: () => readonly ConflictMessage[];
}

/** Answers the calls of `lb.LoadBalancer`. */
export function makeManagementService(
  { management, access, held, conflicts }: ManagementServiceOptions,
): UntypedServiceImplementation {
  const refusals = new RefusalLog();
  const admit = (call: AnyCall): Caller => {
    const caller: Caller = { hostname: text(call.metadata, CALLER_KEY) ?? "" };
    const decision = access.check({
      remote: caller,
      method: call.getPath(),
      authorization: text(call.metadata, "authorization"),
      host: call.getHost(),
      origin: text(call.metadata, "origin"),
    });
    if (decision.allowed) return caller;
    refusals.add({ reason: decision.reason, method: call.getPath(), by: caller.hostname });
    throw new ManagementError(
      decision.status === 401 ? "unauthenticated" : "permission_denied",
      decision.reason,
    );
  };
  const unary = <Request, Response>(
    answer: (request: Request, caller: Caller) => Response | Promise<Response>,
  ): handleUnaryCall<Request, Response> =>
  (call, callback) => {
    const run = async () => await answer(call.request, admit(call));
    run().then((response) => callback(null, response), (error) => callback(toStatus(error)));
  };

  return {
    AddL4: unary<WireAddL4, AddResult>((request, caller) =>
      management.addL4(parseAddL4(request), caller)
    ),
    AddL7: unary<WireAddL7, AddResult>((request, caller) => {
      management.requireL7();
      return management.addL7(parseAddL7(request), caller);
    }),
    Remove: unary<{ id?: string; route_id?: string }, RemoveMessage>(
      ({ id, route_id }, caller) => {
        if (id !== undefined && route_id === undefined) {
          return { backend: encodeBackend(management.removeBackend(id, caller)) };
        }
        if (route_id !== undefined && id === undefined) {
          return { route: encodeRoute(management.removeRoute(route_id, caller)) };
        }
        throw new ManagementError(
          "invalid_argument",
          `${id === undefined ? "neither" : "both"} of id and route_id given; accepted is one`,
          "id",
        );
      },
    ),
    Drain: unary<{ id?: string; wait?: boolean }, BackendMessage>(
      async ({ id, wait }, caller) => {
        const info = management.drain(required("id", id), caller);
        if (wait !== true) return encodeBackend(info);
        await management.whenIdle(info.id);
        return encodeBackend({ ...info, in_flight: 0 });
      },
    ),
    SetWeight: unary<{ id?: string; weight?: number }, BackendMessage>(
      ({ id, weight }, caller) => {
        if (weight === undefined) {
          throw new ManagementError(
            "invalid_argument",
            "it is missing; accepted is an integer from 0 to 65535",
            "weight",
          );
        }
        return encodeBackend(management.setWeight(required("id", id), weight, caller));
      },
    ),
    List: unary<unknown, ListMessage>(() => ({
      backends: management.listBackends().map(encodeBackend),
      names: management.listNames().map(encodeBackend),
      routes: management.listRoutes().map(encodeRoute),
      conflicts: conflicts(),
    })),
    Watch: watch(management, admit),
    Register: new Registrations(management, held, admit).handler,
  };
}

interface RemoveMessage {
  readonly backend?: BackendMessage;
  readonly route?: RouteMessage;
}

interface ListMessage {
  readonly backends: readonly BackendMessage[];
  readonly names: readonly BackendMessage[];
  readonly routes: readonly RouteMessage[];
  readonly conflicts: readonly ConflictMessage[];
}

function watch(
  management: Management,
  admit: (call: AnyCall) => Caller,
): handleServerStreamingCall<unknown, ChangeMessage> {
  return (call) => {
    try {
      admit(call);
    } catch (error) {
      call.emit("error", toStatus(error));
      return;
    }
    const feed = new ChangeFeed(management);
    let blocked = false;
    // While the client is slow nothing is queued for it: it is told of the difference afterwards.
    const send = () => {
      if (blocked) return;
      for (const change of feed.next()) blocked = !call.write(encodeChange(change)) || blocked;
    };
    send();
    blocked = !call.write({ kind: "SYNCED" }) || blocked;
    const stop = management.onChange(send);
    call.on("drain", () => {
      blocked = false;
      send();
    });
    call.on("cancelled", stop);
    call.on("close", stop);
  };
}

function encodeChange({ kind, subject }: Change): ChangeMessage {
  const name = kind.toUpperCase() as "ADDED" | "CHANGED" | "REMOVED";
  return subject.type === "backend"
    ? { kind: name, backend: encodeBackend(subject.info) }
    : { kind: name, route: encodeRoute(subject.info) };
}

function required(field: string, value: string | undefined): string {
  if (value !== undefined) return value;
  throw new ManagementError(
    "invalid_argument",
    "it is missing; accepted is the id or the address of a backend",
    field,
  );
}

function text(metadata: Metadata, key: string): string | undefined {
  const value = metadata.get(key)[0];
  return typeof value === "string" ? value : undefined;
}
