/**
 * How many sockets the process may hold.
 *
 * @module
 */

/** What is assumed where the system does not tell: the soft limit that most systems begin with. */
const ASSUMED = 1024;

/**
 * The limit of open descriptors of this process. The runtime raises the soft limit to the hard one
 * by itself; reading it needs Linux and read permission, elsewhere 1024 is assumed.
 */
export function descriptorLimit(): number {
  try {
    const limits = Deno.readTextFileSync("/proc/self/limits");
    const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
    return soft === undefined ? ASSUMED : Number(soft);
  } catch {
    // No /proc here, or no permission to read it: the cautious number stands.
    return ASSUMED;
  }
}

/** Whether an error says that the process, or the whole system, has no descriptor left. */
export function lacksDescriptors(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "EMFILE" || code === "ENFILE";
}
