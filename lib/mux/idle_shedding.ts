/**
 * Which connections go when there are too few descriptors for those who want to come in.
 *
 * @module
 */

/** That a connection carries nothing. */
export interface Idleness {
  /** For how long, in milliseconds, at the last tick of the clock: all that are compared are seen at the same moment. */
  readonly time: number;
  /** Whether it has carried anything before. */
  readonly used: boolean;
}

/** A connection that can be asked to go. */
export interface Sheddable {
  /** That it carries nothing now; `undefined` while it carries anything, and where nobody can tell. */
  idleness?(): Idleness | undefined;
  /** Ends it as soon as nothing is under way. */
  drain(): void;
}

/** Connections that are asked to go at a time. */
export const SHED_AT_ONCE = 16;
/** The least that a connection must have been idle, in milliseconds: a request may be on its way on younger ones. */
export const MIN_IDLE_MS = 1000;

/**
 * Asks the connections to go that have been idle longest. As long as there are any that were never used, it is them,
 * for a client may open any number of these for nothing.
 *
 * @returns How many were asked.
 */
export function shedIdle(connections: Iterable<Sheddable>): number {
  const used: [connection: Sheddable, time: number][] = [];
  const unused: [connection: Sheddable, time: number][] = [];
  for (const connection of connections) {
    const idleness = connection.idleness?.();
    if (idleness !== undefined) (idleness.used ? used : unused).push([connection, idleness.time]);
  }
  const shed = (unused.length > 0 ? unused : used)
    .filter(([, time]) => time >= MIN_IDLE_MS)
    .sort(([, a], [, b]) => b - a)
    .slice(0, SHED_AT_ONCE);
  for (const [connection] of shed) connection.drain();
  return shed.length;
}
