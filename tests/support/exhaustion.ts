/**
 * Takes the last descriptor of a process with balancers, and sees when it has some again.
 *
 * @module
 */
import type { BalancerProcess } from "./balancer_process.ts";
import { Peer, until } from "./net.ts";

/** How long a balancer may take for it, in milliseconds: the machine may be busy with something else. */
const PATIENCE_MS = 30_000;
/** Failures to accept in a row after which nothing is left that the process had open for a moment only. */
const FAILURES = 3;

/** What all listeners together have counted. */
interface Counts {
  readonly accepted: number;
  readonly failures: number;
  readonly open: number;
}

async function look(balancers: BalancerProcess): Promise<Counts> {
  const metrics = await balancers.metrics();
  const sum = (name: string) =>
    [...metrics.matchAll(new RegExp(`^${name}{.*} (\\d+)$`, "gm"))]
      .reduce((sum, [, value]) => sum + Number(value), 0);
  return {
    accepted: sum("lb_connections_accepted_total"),
    failures: sum("lb_accept_errors_total"),
    open: sum("lb_connections"),
  };
}

/** How {@linkcode exhaust} does it. */
export interface Exhaustion {
  /** The limit of descriptors that the process has. */
  readonly limit: number;
  /** What each connection says, so that it does not give way as one that is unused. Nothing unless given. */
  readonly says?: string;
}

/** What takes the descriptors. */
export interface Exhausted {
  /** The connections, the oldest first. */
  readonly peers: readonly Peer[];
  /**
   * Closes them, and waits until the process has nothing of them any more.
   *
   * @param beside How many connections of others have been opened meanwhile and stay. Default 0.
   */
  free(beside?: number): Promise<void>;
}

/**
 * Opens as many connections as the process may have descriptors, and waits until it has none left. Those that it could
 * not take wait in the queue of the system.
 */
export async function exhaust(
  balancers: BalancerProcess,
  addr: Deno.Addr,
  { limit, says }: Exhaustion,
): Promise<Exhausted> {
  const begun = await look(balancers);
  const peers: Peer[] = [];
  while (peers.length < limit) {
    const peer = await Peer.connect(addr);
    peers.push(peer);
    if (says !== undefined) await peer.write(says);
  }
  let before = begun;
  await until(
    async () => {
      const now = await look(balancers);
      if (now.accepted === before.accepted) return now.failures >= before.failures + FAILURES;
      before = now;
      return false;
    },
    "descriptors run out",
    PATIENCE_MS,
  );
  return {
    peers,
    async free(beside = 0) {
      await Promise.all(peers.map((peer) => peer.close()));
      await until(
        async () => {
          const { accepted, open } = await look(balancers);
          return accepted >= begun.accepted + peers.length + beside && open <= begun.open + beside;
        },
        "descriptors are given back",
        PATIENCE_MS,
      );
    },
  };
}
