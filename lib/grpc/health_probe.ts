/**
 * A health check over gRPC: `grpc.health.v1.Health/Check` (gRPC, doc/health-checking.md).
 *
 * @module
 */
import { CheckFailure } from "../backend/health/check.ts";
import { isOwnFault } from "../backend/health/checked.ts";
import type { Probe } from "../backend/health/probe.ts";
import type { Clock } from "../common/clock.ts";
import { describeCheck } from "./check_error.ts";
import { callBackend, GrpcCallError } from "./client.ts";
import { HEALTH_CHECK, makeCodecLoader } from "./health_codec.ts";

/** Makes a check of a service, or of the server as a whole. */
export function makeGrpcProbe(service: string | undefined, clock: Clock): Probe {
  const load = makeCodecLoader(service);
  return async (backend, { timeout, signal }) => {
    const { question, judge } = await load();
    const options = { path: HEALTH_CHECK, messages: [question], timeout, clock, signal };
    let answer: Uint8Array | undefined;
    try {
      [answer] = await callBackend(backend, options);
    } catch (error) {
      const cause = error instanceof GrpcCallError ? error.unreached : undefined;
      throw isOwnFault(cause) ? cause : new CheckFailure(describeCheck(error, service));
    }
    const reason = answer === undefined ? "the health service says nothing" : judge(answer);
    if (reason !== undefined) throw new CheckFailure(reason);
  };
}
