/**
 * A health check over gRPC: `grpc.health.v1.Health/Check` (gRPC, doc/health-checking.md).
 *
 * @module
 */
import type { Probe } from "../backend/health/active_checks.ts";
import { CheckFailure } from "../backend/health/check.ts";
import type { Clock } from "../common/clock.ts";
import { callBackend } from "./client.ts";
import { HEALTH_PROTO } from "./protos.ts";

const PATH = "/grpc.health.v1.Health/Check";

/** Encodes the question and reads the answer. */
interface HealthCodec {
  readonly question: Uint8Array;
  /** The name of the status, such as `SERVING`. */
  read(answer: Uint8Array): string;
}

/** Makes a check of a service, or of the server as a whole. */
export function makeGrpcProbe(service: string | undefined, clock: Clock): Probe {
  // Loaded with the first check: protobufjs is not needed by those who have none.
  let loading: Promise<HealthCodec> | undefined;
  return async (backend, { timeout, signal }) => {
    const codec = await (loading ??= loadCodec(service ?? ""));
    const messages = [codec.question];
    const [answer] = await callBackend(backend, { path: PATH, messages, timeout, clock, signal });
    const status = answer === undefined ? "no answer" : codec.read(answer);
    if (status !== "SERVING") throw new CheckFailure(`the health service says ${status}`);
  };
}

async function loadCodec(service: string): Promise<HealthCodec> {
  const { loadProto } = await import("./services/definitions.ts");
  const { root } = loadProto(HEALTH_PROTO);
  const request = root.lookupType("grpc.health.v1.HealthCheckRequest");
  const response = root.lookupType("grpc.health.v1.HealthCheckResponse");
  return {
    question: request.encode(request.create({ service })).finish(),
    read(answer) {
      const { status } = response.toObject(response.decode(answer), {
        enums: String,
        defaults: true,
      });
      return String(status);
    },
  };
}
