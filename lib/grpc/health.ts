/**
 * `grpc.health.v1.Health` of the balancer.
 *
 * @module
 */
import type { UntypedServiceImplementation } from "@grpc/grpc-js";
import type { handleServerStreamingCall, handleUnaryCall } from "@grpc/grpc-js";
import { describeError } from "../common/errors.ts";
import { getLogger } from "../observe/logger.ts";
import type { HealthLookup, ServingStatus } from "./health_status.ts";
import { GrpcStatus } from "./status.ts";

interface CheckRequest {
  readonly service?: string;
}

interface CheckResponse {
  readonly status: ServingStatus | "SERVICE_UNKNOWN";
}

interface ListResponse {
  readonly statuses: Readonly<Record<string, CheckResponse>>;
}

/** Names of services in messages are quoted up to this length, in UTF-16 code units. */
const MAX_QUOTE = 120;

const log = getLogger("grpc");

/** What {@linkcode makeHealthService} is made of. */
export interface HealthServiceOptions {
  /** Finds the status of services. */
  readonly health: HealthLookup;
  /** Calls `listener` when a status may have changed, until what it returns is called. */
  readonly onChange: (listener: () => void) => () => void;
}

/** Answers the calls of `grpc.health.v1.Health`. */
export function makeHealthService(
  { health, onChange }: HealthServiceOptions,
): UntypedServiceImplementation {
  const check: handleUnaryCall<CheckRequest, CheckResponse> = (call, callback) => {
    const { service = "" } = call.request;
    health.find(service).then((status) => {
      if (status !== undefined) return callback(null, { status });
      const name = JSON.stringify(service.slice(0, MAX_QUOTE));
      const details = `service: no backend is known to serve ${name}`;
      callback({ code: GrpcStatus.NotFound, details });
    }, (error) => {
      log.error("a health check failed", { error: describeError(error) });
      callback({ code: GrpcStatus.Internal, details: "The load balancer failed." });
    });
  };
  const list: handleUnaryCall<unknown, ListResponse> = (_call, callback) => {
    health.refresh().then(() => {
      const entries = Array.from(health.all(), ([name, status]) => [name, { status }] as const);
      callback(null, { statuses: Object.fromEntries(entries) });
    }, (error) => {
      log.error("a list of health failed", { error: describeError(error) });
      callback({ code: GrpcStatus.Internal, details: "The load balancer failed." });
    });
  };
  const watch: handleServerStreamingCall<CheckRequest, CheckResponse> = (call) => {
    const { service = "" } = call.request;
    let last: CheckResponse["status"] | undefined;
    let blocked = false;
    let ended = false;
    const send = () => {
      if (blocked || ended) return;
      const status = health.all().get(service) ?? "SERVICE_UNKNOWN";
      if (status === last) return;
      last = status;
      blocked = !call.write({ status });
    };
    const look = () =>
      void health.refresh().then(send, (error) => {
        log.error("a health check failed", { error: describeError(error) });
      });
    // A change is told at once as far as it is known; what backends say of themselves may come later.
    const stopListening = onChange(() => {
      send();
      look();
    });
    const stop = () => {
      ended = true;
      stopListening();
    };
    call.on("drain", () => {
      blocked = false;
      send();
    });
    call.on("cancelled", stop);
    call.on("close", stop);
    look();
  };
  return { Check: check, List: list, Watch: watch };
}
