/**
 * The messages of `grpc.health.v1` as a client needs them.
 *
 * @module
 */
import { ProxyError } from "../common/errors.ts";
import { HEALTH_PROTO } from "./protos.ts";

/** The paths of the methods. */
export const HEALTH_CHECK = "/grpc.health.v1.Health/Check";
export const HEALTH_WATCH = "/grpc.health.v1.Health/Watch";

/** Encodes the question and reads the answer. */
export interface HealthCodec {
  /** The request for one service, the same for all methods. */
  readonly question: Uint8Array;
  /**
   * Why an answer is not good; `undefined` when it is SERVING.
   *
   * @throws {Error} When it is no answer.
   */
  judge(answer: Uint8Array): string | undefined;
}

/**
 * Loads the codec for a service, or the server as a whole, when it is asked for first. Rejects with a
 * {@linkcode ProxyError} of our own side.
 */
export function makeCodecLoader(service: string | undefined): () => Promise<HealthCodec> {
  // protobufjs is not needed by those who have no checks.
  let loading: Promise<HealthCodec> | undefined;
  return async () => {
    try {
      return await (loading ??= loadCodec(service ?? ""));
    } catch (error) {
      // Loading needs a descriptor, and there may be one for the next check.
      loading = undefined;
      throw new ProxyError("internal", "internal", "health checks cannot be made", {
        cause: error,
      });
    }
  };
}

async function loadCodec(service: string): Promise<HealthCodec> {
  const { loadProto } = await import("./services/definitions.ts");
  const { root } = loadProto(HEALTH_PROTO);
  const request = root.lookupType("grpc.health.v1.HealthCheckRequest");
  const response = root.lookupType("grpc.health.v1.HealthCheckResponse");
  return {
    question: request.encode(request.create({ service })).finish(),
    judge(answer) {
      const { status } = response.toObject(response.decode(answer), {
        enums: String,
        defaults: true,
      });
      return status === "SERVING" ? undefined : `the health service says ${status}`;
    },
  };
}
