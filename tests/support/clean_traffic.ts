/**
 * Clients that behave well beside whatever a test does: each exchange must come to what it should, soon, and they must
 * go on while the test does.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { type Answer, delay, Peer, until, within } from "./net.ts";

/** Milliseconds between an answer and the next exchange. */
const PAUSE_MS = 2;
/** How long an exchange may take, counted as {@linkcode until} does: a machine that stops everything is no failure. */
const SLOWEST_MS = 10_000;
/** A scene that is shorter than this many milliseconds may be too short for an exchange: one is waited for behind it. */
const SHORT_MS = 1_000;
/** Milliseconds between two looks at how long a scene is. */
const STEP_MS = 5;

/** Makes one exchange, and fails when it does not come to what it should. */
export type CleanExchange = () => Promise<void>;

/**
 * Runs `work` while clients make one exchange after the other. It begins when each of them has been served once, and
 * each must be served again meanwhile, by an exchange that begins and ends while `work` runs.
 */
export async function besideClients(
  clients: readonly CleanExchange[],
  work: () => Promise<void>,
): Promise<void> {
  let phase: "before" | "during" | "after" = "before";
  const failures: unknown[] = [];
  const served = clients.map(() => ({ before: 0, during: 0 }));
  const now = () => phase;
  const drive = async (exchange: CleanExchange, index: number) => {
    try {
      while (now() !== "after" && failures.length === 0) {
        const begun = now();
        await within(SLOWEST_MS, "an exchange of a clean client", exchange());
        if (begun === "before") served[index]!.before++;
        else if (begun === now()) served[index]!.during++;
        await delay(PAUSE_MS);
      }
    } catch (error) {
      failures.push(error);
    }
  };
  const driven = clients.map(drive);
  const allAre = (when: "before" | "during") => () =>
    failures.length > 0 || served.every((counts) => counts[when] > 0);
  let result: PromiseSettledResult<void> | undefined;
  try {
    await until(allAre("before"), "each clean client is served", 2 * SLOWEST_MS);
    if (failures.length === 0) {
      phase = "during";
      const length = new Stopwatch();
      [result] = await Promise.allSettled([work()]);
      if (length.stop() < SHORT_MS) {
        await until(allAre("during"), "each clean client is served again", 2 * SLOWEST_MS);
      }
    }
  } finally {
    phase = "after";
    await Promise.all(driven);
  }
  if (failures.length > 0) throw failures[0];
  if (result?.status === "rejected") throw result.reason;
  assert(allAre("during")(), `a clean client stood still: ${JSON.stringify(served)}`);
}

/** Counts time in which this process got to run something. */
class Stopwatch {
  #steps = 0;
  readonly #timer = setInterval(() => this.#steps++, STEP_MS);

  /** Milliseconds. */
  stop(): number {
    clearInterval(this.#timer);
    return this.#steps * STEP_MS;
  }
}

/**
 * Runs `work` beside clean clients over HTTP/1.1, one on a connection that stays open and one that connects anew each
 * time, which ask for `path` and must always get `expected`.
 */
export async function besideCleanTraffic(
  addr: Deno.Addr,
  path: string,
  expected: string,
  work: () => Promise<void>,
): Promise<void> {
  const check = ({ status, text }: Answer) =>
    assertEquals([status, text], [200, expected], "a clean client was disturbed");
  await using kept = await Peer.connect(addr);
  await besideClients([
    async () => check(await kept.get(path)),
    async () => {
      await using peer = await Peer.connect(addr);
      check(await peer.get(path, "Connection: close\r\n"));
    },
  ], work);
}
