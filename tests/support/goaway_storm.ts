/**
 * Calls through a balancer while its clients and its backends say GOAWAY at moments of chance, and an account of
 * what must have become of each call.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { settle } from "./fake_clock.ts";
import type { Exchange, H2Client } from "./h2_peer.ts";
import type { ScriptedH2Connection } from "./h2_scripted_backend.ts";
import type { Random } from "./prng.ts";

/** What is known of one call. */
interface Account {
  readonly path: string;
  readonly exchange: Exchange;
  readonly client: H2Client;
  /** Whether the client's connection was cut under it. */
  cut: boolean;
  /** How often a backend has answered it. */
  answers: number;
  /** How often a backend has said that it does not act on it. */
  refusals: number;
  /** How often a connection was closed on which it was acted on and not answered. */
  losses: number;
}

/** How a storm is made. */
export interface StormOptions {
  /** Chance. */
  readonly random: Random;
  /** Opens a client connection to the balancer. */
  readonly openClient: () => Promise<H2Client>;
  /** GOAWAYs that are said in all. */
  readonly goaways: number;
}

/** How many calls ended how. */
export interface StormResult {
  readonly calls: number;
  readonly retried: number;
  readonly ok: number;
  readonly unavailable: number;
  /** Of these, those that no backend has seen: each said GOAWAY on a connection that had not been used yet. */
  readonly unseen: number;
  readonly cut: number;
  readonly byClients: number;
  readonly byBackends: number;
}

const CLIENTS = 3;
/** Turns of the event loop that a call may take at the end. */
const PATIENCE = 2000;

/** The storm. */
export class GoawayStorm {
  readonly #options: StormOptions;
  readonly #random: Random;
  readonly #accounts = new Map<string, Account>();
  readonly #connections = new Set<ScriptedH2Connection>();
  readonly #clients: H2Client[] = [];
  readonly #leaving: H2Client[] = [];
  #byClients = 0;
  #byBackends = 0;
  #unseen = 0;
  /** Connections on which GOAWAY came before any stream. */
  #unused = 0;

  constructor(options: StormOptions) {
    this.#options = options;
    this.#random = options.random;
  }

  /** A backend was connected to. */
  readonly onConnection = (connection: ScriptedH2Connection): void => {
    this.#connections.add(connection);
    connection.onRefused = (id) => this.#account(connection, id).refusals++;
  };

  #account(connection: ScriptedH2Connection, id: number): Account {
    return this.#accounts.get(connection.paths.get(id)!)!;
  }

  /** Runs until enough has been said, then lets all calls end and looks at each. */
  async run(): Promise<StormResult> {
    const random = this.#random;
    while (this.#byClients + this.#byBackends < this.#options.goaways) {
      while (this.#clients.length < CLIENTS) this.#clients.push(await this.#options.openClient());
      for (let count = random.below(6); count > 0; count--) this.#call();
      await this.#pause();
      for (let count = random.below(4); count > 0; count--) {
        this.#disturb();
        await this.#pause();
      }
      this.#answerSome(0.7);
    }
    return await this.#finish();
  }

  #call(): void {
    const client = this.#random.pick(this.#clients);
    if (!client.connection.available) return;
    const path = `/s.S/${this.#accounts.size}`;
    const content = this.#random.below(2) === 0 ? undefined : "x".repeat(this.#random.below(2000));
    const exchange = client.call(path, content === undefined ? {} : { content });
    this.#accounts.set(path, {
      path,
      exchange,
      client,
      cut: false,
      answers: 0,
      refusals: 0,
      losses: 0,
    });
  }

  /** Some steps of promises, or some turns of the event loop. */
  async #pause(): Promise<void> {
    const random = this.#random;
    if (random.below(3) === 0) return await settle();
    for (let steps = random.below(12); steps > 0; steps--) await null;
  }

  #disturb(): void {
    const random = this.#random;
    const kind = random.below(8);
    if (kind < 2) return this.#clientLeaves(kind === 0 && random.below(4) === 0);
    const live = [...this.#connections].filter(({ last, ended }) => last === Infinity && !ended);
    if (live.length === 0) return;
    const connection = random.pick(live);
    const ids = [...connection.paths.keys()].filter((id) => id >= connection.answered);
    const last = ids.length === 0 || random.below(3) === 0 ? connection.answered : random.pick(ids);
    this.#byBackends++;
    if (connection.begun === 0) this.#unused++;
    connection.goaway(last, random.below(14));
    if (random.below(8) > 0) return;
    // And it does not wait for what it has promised to act on.
    for (const id of connection.open) this.#account(connection, id).losses++;
    connection.open.length = 0;
    connection.close();
  }

  #clientLeaves(cuts: boolean): void {
    const [client] = this.#clients.splice(this.#random.below(this.#clients.length), 1);
    if (client === undefined) return;
    this.#byClients++;
    this.#leaving.push(client);
    client.connection.drain();
    if (!cuts) return;
    for (const account of this.#accounts.values()) {
      if (account.client === client && !account.exchange.ended) account.cut = true;
    }
    client.connection.abort();
  }

  #answerSome(share: number): void {
    for (const connection of this.#connections) {
      if (connection.ended && connection.open.length === 0) this.#connections.delete(connection);
      for (const id of [...connection.open]) {
        if (this.#random.next() >= share) continue;
        this.#account(connection, id).answers++;
        connection.answer(id);
      }
    }
  }

  async #finish(): Promise<StormResult> {
    const accounts = [...this.#accounts.values()];
    for (let turn = 0; turn < PATIENCE; turn++) {
      this.#answerSome(1);
      await settle();
      if (accounts.every(({ exchange }) => exchange.ended)) break;
    }
    for (const account of accounts) this.#judge(account);
    assert(this.#unseen <= this.#unused, `${this.#unseen} calls were given up for no reason`);
    for (const client of [...this.#clients, ...this.#leaving]) {
      await client[Symbol.asyncDispose]();
    }
    const count = (test: (account: Account) => boolean) => accounts.filter(test).length;
    return {
      calls: accounts.length,
      retried: count(({ answers, refusals }) => answers === 1 && refusals > 0),
      ok: count(({ exchange, cut }) => !cut && exchange.value("grpc-status") === "0"),
      unavailable: count(({ exchange, cut }) => !cut && exchange.value("grpc-status") === "14"),
      unseen: this.#unseen,
      cut: count(({ cut }) => cut),
      byClients: this.#byClients,
      byBackends: this.#byBackends,
    };
  }

  #judge({ path, exchange, cut, answers, refusals, losses }: Account): void {
    assert(exchange.ended, `${path} has no end: ${JSON.stringify({ answers, refusals, losses })}`);
    assert(answers + losses <= 1, `${path} was acted on ${answers + losses} times`);
    if (cut) return;
    assertEquals(exchange.reset?.detail, undefined, path);
    assertEquals(exchange.heads.length, 1, `${path} has ${exchange.heads.length} heads`);
    const status = exchange.value("grpc-status");
    if (answers === 1) assertEquals(status, "0", path);
    else {
      // It was lost with a connection, or no backend was left that would act on it.
      assertEquals(status, "14", path);
      if (losses + refusals === 0) this.#unseen++;
    }
  }
}
