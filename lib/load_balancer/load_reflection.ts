/**
 * Puts the reflection of backends together. Loading this module loads protobufjs.
 *
 * @module
 */
import type { Registry } from "../backend/registry.ts";
import type { Clock } from "../common/clock.ts";
import { REFLECTION_PROTO } from "../grpc/protos.ts";
import { AggregatedReflection } from "../grpc/reflection/aggregate.ts";
import { ReflectionCodec } from "../grpc/reflection/messages.ts";
import { loadProto } from "../grpc/services/definitions.ts";

/** Makes it; nobody is asked yet. */
export function makeReflection(registry: Registry, clock: Clock): AggregatedReflection {
  return new AggregatedReflection({
    backends: () => registry.backends,
    codec: new ReflectionCodec(loadProto(REFLECTION_PROTO).root),
    clock,
  });
}
