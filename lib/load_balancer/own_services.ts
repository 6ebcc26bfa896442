/**
 * The balancer's own gRPC services, put together. Loading this module loads grpc-js and protobufjs, so it is
 * imported when the first of them is called.
 *
 * @module
 */
import type { Registry } from "../backend/registry.ts";
import type { Clock } from "../common/clock.ts";
import type { AccessPolicy } from "../control/access.ts";
import { makeManagementService } from "../control/grpc_service.ts";
import type { Management } from "../control/management.ts";
import { makeHealthService } from "../grpc/health.ts";
import { HealthStatus } from "../grpc/health_status.ts";
import {
  HEALTH_PROTO,
  LB_PROTO,
  REFLECTION_ALPHA_PROTO,
  REFLECTION_PROTO,
} from "../grpc/protos.ts";
import { AggregatedReflection } from "../grpc/reflection/aggregate.ts";
import { LocalSource } from "../grpc/reflection/local_source.ts";
import { ReflectionCodec } from "../grpc/reflection/messages.ts";
import { makeReflectionService } from "../grpc/reflection/service.ts";
import { loadProto } from "../grpc/services/definitions.ts";
import { MemoryServer } from "../grpc/services/server.ts";
import { HEALTH, LOAD_BALANCER, REFLECTION, REFLECTION_ALPHA } from "./service_names.ts";

/** What the services work on. */
export interface OwnServicesOptions {
  /** Backends and routes. */
  readonly registry: Registry;
  /** The use cases of `lb.LoadBalancer`; without them it is not answered. */
  readonly management: Management | undefined;
  /** Who may call it. */
  readonly access: AccessPolicy;
  /** Watches the time. */
  readonly clock: Clock;
}

/** Starts a server of the services. */
export function startOwnServices(options: OwnServicesOptions): MemoryServer {
  const { registry, management, access, clock } = options;
  const lb = loadProto(LB_PROTO);
  const health = loadProto(HEALTH_PROTO);
  const v1 = loadProto(REFLECTION_PROTO);
  const v1alpha = loadProto(REFLECTION_ALPHA_PROTO);
  const names = [HEALTH, REFLECTION, REFLECTION_ALPHA];
  const files = [health.descriptor, v1.descriptor, v1alpha.descriptor];
  if (management !== undefined) {
    names.push(LOAD_BALANCER);
    files.push(lb.descriptor);
  }
  const listeners = new Set<() => void>();
  const changed = () => {
    for (const listener of [...listeners]) listener();
  };
  const reflection = new AggregatedReflection({
    backends: () => registry.backends,
    local: new LocalSource(names, files),
    codec: new ReflectionCodec(v1.root),
    clock,
    onServices: changed,
  });
  const status = new HealthStatus({ registry, own: names, listed: () => reflection.listed() });
  const reflectionService = makeReflectionService(reflection);
  return new MemoryServer([
    {
      definition: health.service(HEALTH),
      implementation: makeHealthService({
        statuses: () => status.all(),
        refresh: () => reflection.refresh(),
        onChange(listener) {
          listeners.add(listener);
          const stop = registry.onChange(listener);
          return () => {
            listeners.delete(listener);
            stop();
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
        conflicts: () => reflection.conflicts(),
      }),
    }],
  ]);
}
