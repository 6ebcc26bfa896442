/**
 * Backends that no connection can be opened to are avoided while others can serve: nothing is lost by that, so it
 * needs neither a number of failures nor a ceiling. They are tried again in the background, by connections that carry
 * no request.
 *
 * @module
 */
import type { Clock, Timed } from "../../common/clock.ts";
import { describeError, type ProxyError } from "../../common/errors.ts";
import { getLogger } from "../../observe/logger.ts";
import type { LiveBackend } from "../backend.ts";
import { type Connect, type ConnectWatch, openWatched } from "../connector.ts";
import { jitter } from "./checked.ts";

/** The rest before the first trial, in milliseconds; each that fails doubles it. */
const FIRST_REST_MS = 100;
/** The longest rest. */
const MAX_REST_MS = 10_000;

const log = getLogger("health");

/** What a {@linkcode Reachability} is made of. */
export interface ReachabilityParts {
  /** For all rests. */
  readonly clock: Clock;
  /** Opens connections for trials. */
  readonly connect: Connect;
  /** How long opening one may take, in milliseconds. */
  readonly timeout: number;
  /** Certificates in PEM that are trusted beside the well-known ones. */
  readonly caCerts?: readonly string[];
  /** Chance from 0 up to but not 1; `Math.random` unless given. */
  readonly random?: () => number;
}

/** Watches the connections to the backends of one registry. */
export class Reachability {
  readonly #parts: ReachabilityParts;
  readonly #links = new Map<LiveBackend, Link>();
  /** Ends of trials of those that are watched no more. */
  readonly #ending = new Set<Promise<void>>();

  /** Watches nobody yet. */
  constructor(parts: ReachabilityParts) {
    this.#parts = parts;
  }

  /** Begins to watch a backend. */
  add(backend: LiveBackend): void {
    const link = new Link(backend, this.#parts);
    this.#links.set(backend, link);
    backend.connectWatch = link;
  }

  /** Watches a backend no more. */
  remove(backend: LiveBackend): void {
    const link = this.#links.get(backend);
    if (link === undefined) return;
    backend.connectWatch = undefined;
    this.#links.delete(backend);
    const end = link.forget();
    this.#ending.add(end);
    void end.then(() => this.#ending.delete(end));
  }

  /** Takes every backend for reachable, so that nothing is left to wait for; resolves when no trial is under way. */
  async close(): Promise<void> {
    const ends = Array.from(this.#links.values(), (link) => link.forget());
    await Promise.all([...ends, ...this.#ending]);
  }
}

/** What is known of the connections to one backend. */
class Link implements ConnectWatch, Timed {
  deadline = Infinity;
  readonly #backend: LiveBackend;
  readonly #parts: ReachabilityParts;
  /** Connections that were opened. */
  #connected = 0;
  /** The present rest, or the last one. */
  #rest = 0;
  /** When it was last reached after it had been lost. */
  #reachedAt = -Infinity;
  #trial: { readonly abort: AbortController; readonly end: Promise<void> } | undefined;

  constructor(backend: LiveBackend, parts: ReachabilityParts) {
    this.#backend = backend;
    this.#parts = parts;
  }

  begin(): number {
    return this.#connected;
  }

  onConnected(): void {
    this.#rest = 0;
    this.#onReached();
  }

  #onReached(): void {
    this.#connected++;
    const { addr, health } = this.#backend;
    if (health.reachable) return;
    const { clock } = this.#parts;
    this.#reachedAt = clock.now();
    clock.disarm(this);
    clock.unwatch(this);
    log.info("a backend can be reached again", { backend: addr });
    health.reach();
  }

  onUnreached(error: ProxyError, begun: number): void {
    // Another connection was opened meanwhile, so this is old news.
    if (begun !== this.#connected) return;
    const { addr, health } = this.#backend;
    const reason = `${error.code}: ${describeError(error)}`;
    if (health.reachable) {
      const { clock } = this.#parts;
      // One that takes nothing but trials, and stays no longer than it has rested, goes on where it was.
      if (clock.now() - this.#reachedAt > this.#rest) this.#rest = 0;
      log.warning("a backend cannot be reached", { backend: addr, reason });
      clock.watch(this);
      this.#restOn();
    }
    health.lose(reason);
  }

  #restOn(): void {
    const { clock, random = Math.random } = this.#parts;
    this.#rest = Math.min(Math.max(this.#rest * 2, FIRST_REST_MS), MAX_REST_MS);
    clock.arm(this, jitter(this.#rest, random));
  }

  onDeadline(): void {
    if (this.#trial !== undefined) return this.#restOn();
    const { connect, timeout, caCerts } = this.#parts;
    const { address } = this.#backend;
    const h2 = address.transport === "tcp" && address.scheme.startsWith("grpc");
    const abort = new AbortController();
    const open = async () =>
      (await connect(address, {
        timeout,
        signal: abort.signal,
        ...(h2 ? { alpn: "h2" } : {}),
        ...(caCerts === undefined ? {} : { caCerts }),
      })).close();
    const trial: ConnectWatch = {
      begin: () => this.begin(),
      onConnected: () => this.#onReached(),
      onUnreached: (error, begun) => this.onUnreached(error, begun),
    };
    const end = openWatched(trial, open).then(() => {
      this.#trial = undefined;
    }, (error) => {
      this.#trial = undefined;
      if (abort.signal.aborted || this.#backend.health.reachable) return;
      log.debug("a backend still cannot be reached", {
        backend: this.#backend.addr,
        error: describeError(error),
      });
      this.#restOn();
    });
    this.#trial = { abort, end };
  }

  /** Forgets that the backend was lost; resolves when no trial is under way. */
  forget(): Promise<void> {
    const { clock } = this.#parts;
    clock.disarm(this);
    clock.unwatch(this);
    this.#rest = 0;
    this.#trial?.abort.abort();
    this.#backend.health.reach();
    return this.#trial?.end ?? Promise.resolve();
  }
}
