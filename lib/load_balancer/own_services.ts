/**
 * The balancer's own gRPC services, put together. Loading this module loads grpc-js and protobufjs, so it is
 * imported when the first of them is called.
 *
 * @module
 */
import type { Registry } from "../backend/registry.ts";
import type { AccessPolicy } from "../control/access.ts";
import { makeManagementService } from "../control/grpc_service.ts";
import type { HeldBackends } from "../control/held_backends.ts";
import type { Management } from "../control/management.ts";
import { makeHealthService } from "../grpc/health.ts";
import type { HealthLookup } from "../grpc/health_status.ts";
import {
  HEALTH_PROTO,
  LB_PROTO,
  REFLECTION_ALPHA_PROTO,
  REFLECTION_PROTO,
} from "../grpc/protos.ts";
import type { AggregatedReflection } from "../grpc/reflection/aggregate.ts";
import { LocalSource } from "../grpc/reflection/local_source.ts";
import { makeReflectionService } from "../grpc/reflection/service.ts";
import { loadProto } from "../grpc/services/definitions.ts";
import { MemoryServer } from "../grpc/services/server.ts";
import { HEALTH, LOAD_BALANCER, REFLECTION, REFLECTION_ALPHA } from "./service_names.ts";

/** What the services work on. */
export interface OwnServicesOptions {
  /** All registries of the balancer. */
  readonly registries: readonly Registry[];
  /** Finds the health of services. */
  readonly health: HealthLookup;
  /** The use cases of `lb.LoadBalancer`; without them it is not answered. */
  readonly management: Management | undefined;
  /** Backends that registered themselves over it. */
  readonly held: HeldBackends;
  /** Who may call it. */
  readonly access: AccessPolicy;
  /** The reflection of its backends. */
  readonly reflection: AggregatedReflection;
}

/** Starts a server of the services. */
export function startOwnServices(options: OwnServicesOptions): MemoryServer {
  const { registries, health, management, held, access, reflection } = options;
  const lb = loadProto(LB_PROTO);
  const healthProto = loadProto(HEALTH_PROTO);
  const v1 = loadProto(REFLECTION_PROTO);
  const v1alpha = loadProto(REFLECTION_ALPHA_PROTO);
  const names = [HEALTH, REFLECTION, REFLECTION_ALPHA];
  const files = [healthProto.descriptor, v1.descriptor, v1alpha.descriptor];
  if (management !== undefined) {
    names.push(LOAD_BALANCER);
    files.push(lb.descriptor);
  }
  const reflectionService = makeReflectionService(reflection, new LocalSource(names, files));
  return new MemoryServer([
    {
      definition: healthProto.service(HEALTH),
      implementation: makeHealthService({
        health,
        onChange(listener) {
          const stops = registries.map((one) => one.onChange(listener));
          stops.push(reflection.onServices(listener), health.onLeaving(listener));
          return () => {
            for (const stop of stops) stop();
          };
        },
      }),
    },
    { definition: v1.service(REFLECTION), implementation: reflectionService },
    { definition: v1alpha.service(REFLECTION_ALPHA), implementation: reflectionService },
    ...management === undefined ? [] : [{
      definition: lb.service(LOAD_BALANCER),
      implementation: makeManagementService({
        management,
        access,
        held,
        conflicts: () => reflection.conflicts(),
      }),
    }],
  ]);
}
