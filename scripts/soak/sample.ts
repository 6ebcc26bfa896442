/**
 * What is measured of a balancer during a soak.
 *
 * @module
 */
import { residentBytes } from "../bench/process.ts";
import { type Balancer, sumOf } from "../load/fleet.ts";
import { fitLine } from "./fit.ts";
import { readHeap } from "./probe.ts";

/** One look. */
export interface Sample {
  /** Seconds since the load began. */
  readonly at: number;
  /** Open descriptors. */
  readonly descriptors: number;
  /** Connections of clients. */
  readonly connections: number;
  /** Connections to backends. */
  readonly upstream: number;
  /** Resident memory in bytes. */
  readonly resident: number;
  /** V8's heap behind a full collection, in bytes. */
  readonly heap: number;
  /** Buffers outside of the heap, in bytes. */
  readonly external: number;
}

/** A balancer with the socket of its probe. */
export interface Watched {
  readonly balancer: Balancer;
  readonly probe: string;
}

/** Looks at a balancer. */
export async function takeSample({ balancer, probe }: Watched, at: number): Promise<Sample> {
  const metrics = await balancer.metrics();
  const { heapUsed, external } = await readHeap(probe);
  const { pid } = balancer;
  return {
    at,
    descriptors: [...Deno.readDirSync(`/proc/${pid}/fd`)].length,
    connections: sumOf(metrics, "lb_connections"),
    upstream: sumOf(metrics, "lb_upstream_connections"),
    resident: residentBytes(pid),
    heap: heapUsed,
    external,
  };
}

/** What is fitted. */
export type Kind = "resident" | "heap" | "external" | "descriptors";

/** How something went in the second half of a soak: the first is for code and pools to get warm. */
export interface Growth {
  readonly kind: Kind;
  /** The mean. */
  readonly mean: number;
  /** By how much it grew from the beginning of that half to its end, along the fitted line. */
  readonly growth: number;
  /** The standard error of that. */
  readonly error: number;
  /** The same for each hour. */
  readonly perHour: number;
}

/** Fits the second half. */
export function growthOf(kind: Kind, samples: readonly Sample[]): Growth {
  const half = samples.slice(Math.floor(samples.length / 2));
  const { slope, error } = fitLine(half.map((sample) => [sample.at, sample[kind]]));
  const seconds = (half.at(-1)?.at ?? 0) - (half[0]?.at ?? 0);
  return {
    kind,
    mean: half.reduce((sum, sample) => sum + sample[kind], 0) / Math.max(half.length, 1),
    growth: slope * seconds,
    error: error * seconds,
    perHour: slope * 3600,
  };
}

const MIB = 2 ** 20;

/**
 * How much may be fitted as growth in the second half of a soak, whatever its length, in bytes. A byte that is lost with
 * each request of the standard half hour is a third of a MiB of heap. Resident memory moves with the allocator.
 */
export const MAX_GROWTH: Readonly<Partial<Record<Kind, number>>> = {
  heap: MIB,
  external: MIB,
  resident: 16 * MIB,
};

/** Whether so much growth cannot be chance, and is more than is allowed. */
export function isLeak({ kind, growth, error }: Growth): boolean {
  const limit = MAX_GROWTH[kind];
  return limit !== undefined && growth - 2 * error > limit;
}
