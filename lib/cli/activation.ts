/**
 * Sockets that whoever started the process has opened for it, as systemd does: sd_listen_fds(3).
 *
 * @module
 */
import { UsageError } from "./options.ts";

/** The first of them; what comes before is standard input, output and error. */
const FIRST = 3;

/** A socket that was passed. */
export interface PassedSocket {
  /** Its descriptor. */
  readonly fd: number;
  /** What it is called: systemd takes `FileDescriptorName=`, or else the name of the socket unit. */
  readonly name: string;
}

/** What is needed of the environment. */
export type Environment = Pick<typeof Deno.env, "get" | "delete">;

/**
 * The sockets that were passed to this very process. The variables are removed, so that programs which are
 * started from here do not take them for theirs.
 *
 * @throws {UsageError} When the variables contradict each other.
 */
export function takePassedSockets(env: Environment = Deno.env, pid = Deno.pid): PassedSocket[] {
  const [ofPid, count, names] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"].map((variable) => {
    const value = env.get(variable);
    if (value !== undefined) env.delete(variable);
    return value;
  });
  // Whoever started our starter may have meant that one.
  if (count === undefined || ofPid !== String(pid)) return [];
  const length = Number(count);
  if (!/^\d{1,4}$/.test(count)) {
    throw new UsageError(`LISTEN_FDS is ${JSON.stringify(count)}; accepted is a number of sockets`);
  }
  const called = names === undefined || names === "" ? [] : names.split(":");
  if (called.length > 0 && called.length !== length) {
    throw new UsageError(
      `LISTEN_FDNAMES has ${called.length} names for ${length} sockets; accepted is one for each`,
    );
  }
  return Array.from({ length }, (_, i) => ({ fd: FIRST + i, name: called[i] ?? "unknown" }));
}
