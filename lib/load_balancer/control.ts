/**
 * How a balancer is managed: the use cases, their HTTP API and the balancer's own gRPC services.
 *
 * @module
 */
import type { Registry } from "../backend/registry.ts";
import type { Clock } from "../common/clock.ts";
import { AccessPolicy } from "../control/access.ts";
import { ManagementApi } from "../control/http_api.ts";
import { HeldBackends } from "../control/held_backends.ts";
import { Management } from "../control/management.ts";
import type { Protocol } from "../control/protocol.ts";
import { ChangeJournal, type RunTimeChanges } from "../control/run_time_changes.ts";
import type { Discovery } from "../grpc/discovery.ts";
import { HealthLookup, HealthStatus } from "../grpc/health_status.ts";
import { LocalServices } from "../grpc/services/local_services.ts";
import type { LocalHandler } from "../http/l7/context.ts";
import { DEFAULT_CALLER_PORT, type ManagementOptions } from "./options.ts";
import type { SharedReflection } from "./reflection.ts";
import { HEALTH, LOAD_BALANCER, REFLECTION, REFLECTION_ALPHA } from "./service_names.ts";

/** What a {@linkcode Control} is made of. */
export interface ControlParts {
  /** Whether requests or connections are balanced. */
  readonly layer: "l4" | "l7";
  /** All backends and routes: one registry, or one for each protocol. */
  readonly registries: readonly Registry[];
  /** The one whose backends are asked for their services. */
  readonly grpc: Registry;
  /** Their reflection. */
  readonly reflection: SharedReflection;
  /** Reads it without being asked. */
  readonly discovery: Discovery;
  /** What the user chose. */
  readonly options: ManagementOptions | undefined;
  /** For deadlines. */
  readonly clock: Clock;
}

/** Management of one balancer. */
export class Control {
  /** The use cases. */
  readonly management: Management;
  /** Answers management requests. */
  readonly api: ManagementApi;
  /** The handler for them on the listeners, unless they are not answered there. */
  readonly local: LocalHandler | undefined;
  /** The gRPC services of the balancer itself; not started before the first call. */
  readonly services: LocalServices;
  readonly #health: HealthLookup;
  readonly #held = new HeldBackends();
  readonly #registries: readonly Registry[];
  readonly #clock: Clock;

  /**
   * Puts the parts together.
   *
   * @throws {TypeError} When a network or the token is not valid.
   */
  constructor(parts: ControlParts) {
    const { layer, registries, grpc, reflection, discovery, options = {}, clock } = parts;
    this.#clock = clock;
    this.#registries = registries;
    const { defaultPort = DEFAULT_CALLER_PORT, allow, token, onListeners = true } = options;
    const names = [HEALTH, REFLECTION, REFLECTION_ALPHA, ...onListeners ? [LOAD_BALANCER] : []];
    // One lookup for `grpc.health.v1` and for /readyz, so that both say the same.
    const health = this.#health = new HealthLookup({
      status: new HealthStatus({
        registry: grpc,
        registries,
        own: names,
        listed: () => reflection.listed(),
      }),
      refresh: async () => (await reflection.load()).refresh(),
    });
    // Where there are two protocols, what does not say which is meant is taken for that of the call.
    const journal = new ChangeJournal();
    const manage = (prefers?: Protocol) =>
      new Management(registries, {
        journal,
        held: this.#held,
        layer,
        defaultPort,
        reflection: {
          conflicts: () => reflection.conflicts(),
          failures: () => discovery.failures(),
        },
        ...(grpc.scheme === "grpc" ? { health } : {}),
        ...(prefers === undefined ? {} : { prefers }),
      });
    const access = new AccessPolicy({
      ...(allow === undefined ? {} : { allow }),
      ...(token === undefined ? {} : { token }),
    });
    this.management = manage();
    this.api = new ManagementApi(manage("http"), access);
    this.local = onListeners ? this.api : undefined;
    this.services = new LocalServices({
      names,
      clock,
      start: async () => {
        const { startOwnServices } = await import("./own_services.ts");
        const management = onListeners ? manage("grpc") : undefined;
        return startOwnServices({
          registries,
          health,
          management,
          held: this.#held,
          access,
          reflection: await reflection.load(),
        });
      },
    });
  }

  /** Says that nothing is served any more, or the truth again. */
  setLeaving(leaving: boolean): void {
    this.#health.setLeaving(leaving);
  }

  /** Sends away whoever has a stream of the own services open. The backends that they hold stay. */
  endStreams(): void {
    this.#held.suspend();
    this.services.endStreams();
  }

  /**
   * Makes the changes that the process before has collected.
   *
   * @throws {TypeError} When one cannot be made.
   */
  applyChanges(changes: RunTimeChanges): void {
    const { management } = this;
    this.#held.adopt(
      management.applyChanges(changes),
      (id) => management.removeHeld(id),
      this.#clock,
    );
  }

  /** Ends the own services. */
  async close(): Promise<void> {
    await this.services.close();
    // Nobody has asked for it, so it is no change to be passed on.
    this.#held.close((id) => {
      for (const registry of this.#registries) {
        const backend = registry.backend(id);
        if (backend !== undefined) registry.removeBackend(backend);
        const name = registry.names.find(id);
        if (name !== undefined) registry.names.remove(name);
      }
    });
  }
}
