/**
 * A constant rate of requests, whatever becomes of them: what is due begins, even while others are still waited for,
 * so that a balancer that stands still is not given a rest.
 *
 * @module
 */

/** Milliseconds between two looks at what is due. */
const TICK_MS = 5;

/** How requests are begun. */
export interface PaceOptions {
  /** Requests per second. */
  readonly rate: number;
  /** Ends it. */
  readonly signal: AbortSignal;
  /** Makes one request; never rejects. `due` is the moment, of `performance.now`, at which it was to begin. */
  readonly begin: (due: number) => Promise<void>;
}

/** Begins requests at a constant rate until it is told to stop; resolves when all have ended. */
export async function keepPace({ rate, signal, begin }: PaceOptions): Promise<void> {
  const running = new Set<Promise<void>>();
  const started = performance.now();
  let begun = 0;
  await new Promise<void>((resolve) => {
    const tick = () => {
      // The first is due at once.
      const due = (performance.now() - started) * rate / 1000;
      for (; begun <= due; begun++) {
        const request = begin(started + begun * 1000 / rate).finally(() => running.delete(request));
        running.add(request);
      }
    };
    const timer = setInterval(tick, TICK_MS);
    const stop = () => {
      clearInterval(timer);
      resolve();
    };
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
  await Promise.all(running);
}
