/**
 * The reflection of the backends of one registry, shared by whoever asks.
 *
 * @module
 */
import type { LiveBackend } from "../backend/backend.ts";
import type { Registry } from "../backend/registry.ts";
import type { Clock } from "../common/clock.ts";
import type { AggregatedReflection, FileConflict } from "../grpc/reflection/aggregate.ts";

/** Made when somebody asks first, since it loads protobufjs. */
export class SharedReflection {
  readonly #registry: Registry;
  readonly #clock: Clock;
  #loading: Promise<AggregatedReflection> | undefined;
  #current: AggregatedReflection | undefined;

  /** Nothing is loaded yet. */
  constructor(registry: Registry, clock: Clock) {
    this.#registry = registry;
    this.#clock = clock;
  }

  /** The reflection, loaded if need be. */
  async load(): Promise<AggregatedReflection> {
    try {
      return await (this.#loading ??= this.#load());
    } catch (error) {
      // Loading needs a descriptor, and there may be one the next time.
      this.#loading = undefined;
      throw error;
    }
  }

  async #load(): Promise<AggregatedReflection> {
    const { makeReflection } = await import("./load_reflection.ts");
    return this.#current = makeReflection(this.#registry, this.#clock);
  }

  /** The services of each backend, as far as anybody has asked. */
  listed(): Iterable<readonly [LiveBackend, readonly string[]]> {
    return this.#current?.listed() ?? [];
  }

  /** What backends define differently, as far as anybody has asked. */
  conflicts(): readonly FileConflict[] {
    return this.#current?.conflicts() ?? [];
  }

  /** Gives up what is being asked. */
  cancel(): void {
    this.#current?.cancel();
  }
}
