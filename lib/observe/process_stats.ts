/**
 * What the operating system knows of this process. What cannot be read, for want of permission or on
 * another system, is left out.
 *
 * @module
 */

import process from "node:process";
import { lacksDescriptors } from "../common/descriptors.ts";

/** Numbers of the process; times in seconds, sizes in bytes. */
export interface ProcessStats {
  /** Memory in use, resident set. */
  readonly residentMemoryBytes: number;
  /** When it started, since the epoch. */
  readonly startTimeSeconds: number;
  /** CPU time used in user and system mode. */
  readonly cpuSeconds: number;
  /** Open descriptors, when known. */
  readonly openFds: number | undefined;
  /** The soft limit on descriptors, when known. */
  readonly maxFds: number | undefined;
}

/** The limit of descriptors as it was read last. Without a descriptor it cannot be read, and is wanted most. */
let knownMaxFds: number | undefined;

/**
 * The value, or `undefined` when the file is not there or may not be read.
 *
 * @param full The value when there is no descriptor to read with.
 */
async function readable<T>(
  read: () => Promise<T | undefined>,
  full: () => T | undefined,
): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (lacksDescriptors(error)) return full();
    // No `/proc` on other systems; on Deno it wants all permissions. Anything else is a fault.
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotCapable) {
      return undefined;
    }
    throw error;
  }
}

async function countOpenFds(): Promise<number> {
  // Since Linux 6.2 the size of the folder is the number of descriptors; before, it is 0.
  const { size } = await Deno.stat("/proc/self/fd");
  if (size > 0) return size;
  let count = 0;
  for await (const _ of Deno.readDir("/proc/self/fd")) count++;
  // Reading the folder took a descriptor of its own.
  return count - 1;
}

async function readMaxFds(): Promise<number | undefined> {
  const soft = /^Max open files +(\d+)/m.exec(await Deno.readTextFile("/proc/self/limits"))?.[1];
  return knownMaxFds = soft === undefined ? undefined : Number(soft);
}

/** Reads the numbers. Never asks anybody for a permission. */
export async function readProcessStats(): Promise<ProcessStats> {
  const cpu = process.cpuUsage();
  const proc = Deno.permissions.querySync({ name: "read", path: "/proc/self" });
  const mayRead = Deno.build.os === "linux" && proc.state === "granted";
  const maxFds = mayRead ? await readable(readMaxFds, () => knownMaxFds) : undefined;
  return {
    residentMemoryBytes: Deno.memoryUsage().rss,
    startTimeSeconds: performance.timeOrigin / 1000,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    openFds: mayRead ? await readable(countOpenFds, () => maxFds) : undefined,
    maxFds,
  };
}
