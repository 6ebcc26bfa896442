import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { headBuffers } from "../../lib/common/buffer_pool.ts";
import { settle } from "../support/fake_clock.ts";
import { C, hedged, ok } from "../support/hedged.ts";
import { type Message, Truncated } from "../support/http_text.ts";
import { A, B, type Client, L7 } from "../support/l7.ts";
import type { BackendConnection } from "../support/scripted_backend.ts";

// Whatever two tries of a request do and in which order: one answer, nothing left, nothing mixed.

const HOSTS = [A, B, C];
const RESPONSE_MS = 1_500;
const REFUSED = "HTTP/1.1 503 X\r\nContent-Length: 4\r\n\r\nnope";

/** What a backend says to a request; long for some, so that it goes out in pieces. */
function bodyOf(host: string, id: string): string {
  return `${host} answers ${id}. `.repeat(id.endsWith("0") ? 1_000 : 1);
}

/** A request that a backend has got. */
interface Asked {
  readonly host: string;
  readonly id: string;
  readonly connection: BackendConnection;
  /** What is left of the answer, once it has begun. */
  rest: string;
  /** Resolves when what has been said so far has been taken, or the connection has ended. */
  said: Promise<unknown>;
}

type Action =
  | "time"
  | "answer"
  | "begin"
  | "finish"
  | "refuse"
  | "hint"
  | "garbage"
  | "close"
  | "reset"
  | "hold"
  | "release"
  | "leave";

interface Step {
  readonly action: Action;
  /** Which request, backend or client. */
  readonly which: number;
  /** Milliseconds, where time passes. */
  readonly ms: number;
  /** Whether everything that follows comes about before the next step. */
  readonly settles: boolean;
}

const step: fc.Arbitrary<Step> = fc.record({
  action: fc.oneof(
    { weight: 6, arbitrary: fc.constant<Action>("time") },
    { weight: 3, arbitrary: fc.constantFrom<Action>("answer", "begin", "finish") },
    {
      weight: 3,
      arbitrary: fc.constantFrom<Action>("refuse", "garbage", "close", "reset", "hint"),
    },
    { weight: 1, arbitrary: fc.constantFrom<Action>("hold", "release", "leave") },
  ),
  which: fc.nat(20),
  ms: fc.constantFrom(50, 200, 400),
  settles: fc.boolean(),
});

/** What became of a request, as its client saw it. */
type Fate =
  | { readonly type: "answered"; readonly answer: Message }
  | { readonly type: "cut" }
  | { readonly type: "left" };

/** One run: a balancer, its backends and its clients. */
class Scene {
  readonly lb: L7;
  readonly asked: Asked[] = [];
  readonly fates = new Map<string, Fate>();
  /** Requests of which an answer has begun and was not finished by its backend. */
  readonly cut = new Set<string>();
  readonly #clients: { readonly client: Client; readonly name: string; left: boolean }[] = [];
  readonly #releases: (() => void)[] = [];
  readonly #done: Promise<void>[] = [];

  constructor(perTryTimeout: number | undefined, maxWrite: number) {
    this.lb = new L7(hedged({
      timeouts: { response: RESPONSE_MS },
      recovery: {
        retries: {
          on: [503, "reset", "timeout", "connect-failure"],
          ...(perTryTimeout === undefined ? {} : { perTryTimeout }),
        },
      },
      faults: { maxWrite },
    }, { hosts: HOSTS }));
    for (const host of HOSTS) void this.#listen(host);
  }

  async #listen(host: string): Promise<void> {
    for (;;) void this.#serve(host, await this.lb.accept(host));
  }

  async #serve(host: string, connection: BackendConnection): Promise<void> {
    try {
      for (;;) {
        const { start, body } = await connection.request();
        const id = start.split(" ")[1]!.slice(1);
        assertEquals(body, `body of ${id}`, "the request of every try is whole");
        this.asked.push({
          host,
          id,
          connection,
          rest: ok(bodyOf(host, id)),
          said: Promise.resolve(),
        });
      }
    } catch (error) {
      // The connection has ended; whatever else it was speaks against the balancer.
      if (!(error instanceof Truncated) && !`${error}`.includes("without a request")) throw error;
      connection.close();
    }
  }

  /** Two requests of one client, one after the other on one connection. */
  start(name: string): void {
    const entry = { client: this.lb.connect(), name, left: false };
    this.#clients.push(entry);
    this.#done.push(this.#use(entry));
  }

  async #use(entry: { readonly client: Client; readonly name: string; left: boolean }) {
    const { client, name } = entry;
    for (let turn = 0; turn < 2; turn++) {
      const id = `${name}-${turn}`;
      const content = `body of ${id}`;
      void client.send(
        `PUT /${id} HTTP/1.1\r\nHost: a\r\nContent-Length: ${content.length}\r\n\r\n${content}`,
      );
      let answer: Message;
      try {
        do answer = await client.response(); while (answer.status < 200);
      } catch (error) {
        assert(error instanceof Truncated, `${error}`);
        this.fates.set(id, { type: entry.left ? "left" : "cut" });
        return client.close();
      }
      this.fates.set(id, { type: "answered", answer });
      if (answer.get("connection") === "close") break;
    }
    await client.end();
    assertEquals(await client.rest(), "", "there is one answer to each request");
  }

  async act({ action, which, ms, settles }: Step): Promise<void> {
    const asked = this.asked[which % Math.max(this.asked.length, 1)];
    const host = HOSTS[which % HOSTS.length]!;
    switch (action) {
      case "time":
        await this.lb.time.advance(ms);
        break;
      case "hold":
        this.#releases.push(this.lb.at(host).hold());
        break;
      case "release":
        this.#releases.shift()?.();
        break;
      case "leave": {
        const entry = this.#clients[which % this.#clients.length]!;
        entry.left = true;
        entry.client.reset();
        break;
      }
      default:
        if (asked !== undefined) this.#answer(asked, action);
    }
    if (settles) await settle();
  }

  #answer(asked: Asked, action: Action): void {
    const { connection, id, rest } = asked;
    const begun = rest !== ok(bodyOf(asked.host, id));
    const say = (text: string) => asked.said = asked.said.then(() => connection.send(text));
    const forget = () => this.asked.splice(this.asked.indexOf(asked), 1);
    switch (action) {
      case "answer":
      case "finish":
        forget();
        say(rest);
        break;
      case "begin": {
        const half = Math.ceil(rest.length / 2);
        asked.rest = rest.slice(half);
        say(rest.slice(0, half));
        break;
      }
      case "hint":
        if (!begun) say("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
        break;
      case "refuse":
      case "garbage":
        if (begun) break;
        forget();
        say(action === "refuse" ? REFUSED : "SSH-2.0-OpenSSH_9.6\r\n");
        break;
      default:
        if (begun) this.cut.add(id);
        forget();
        connection[action === "close" ? "close" : "reset"]();
    }
  }

  /** Lets everything end that has not, and looks at what came of it. */
  async finish(): Promise<void> {
    let over = false;
    const done = Promise.all(this.#done).then(() => over = true);
    for (const release of this.#releases) release();
    for (let i = 0; i < 200 && !over; i++) {
      await settle();
      for (const asked of [...this.asked]) this.#answer(asked, "answer");
      await this.lb.time.advance(100);
    }
    assert(over, "every wait ends");
    await done;
    for (const [id, fate] of this.fates) this.#check(id, fate);
    let [attempts, hedges] = [0, 0];
    for (const [, stats] of this.lb.listener.upstreamSeries()) {
      attempts += stats.attempts;
      hedges += stats.hedges;
    }
    assert(hedges <= this.fates.size, "one hedge for a request at most");
    assert(attempts <= this.fates.size * this.lb.context.maxAttempts, "and no try too many");
    await this.lb.assertSettled();
  }

  #check(id: string, fate: Fate): void {
    if (fate.type === "left") return;
    if (fate.type === "cut") return assert(this.cut.has(id), `the answer to ${id} is cut`);
    const { status, body, start } = fate.answer;
    if (status === 200) {
      assert(HOSTS.some((host) => body === bodyOf(host, id)), `${id} has the answer of another`);
    } else if (body !== "nope") {
      const { status: said } = JSON.parse(body);
      assertEquals([said, [502, 503, 504].includes(status)], [status, true], start);
    }
  }
}

/** Makes sure that each buffer for heads has one owner at a time, who gives it back once. */
async function watchBuffers(run: () => Promise<void>): Promise<void> {
  const lent = new Set<Uint8Array>();
  const { acquire, release } = headBuffers;
  headBuffers.acquire = () => {
    const buffer = acquire.call(headBuffers);
    lent.add(buffer);
    return buffer;
  };
  headBuffers.release = (buffer) => {
    assert(lent.delete(buffer), "a buffer is given back by its owner, once");
    // Whoever still writes from it is found out.
    buffer.fill(0xee);
    release.call(headBuffers, buffer);
  };
  try {
    await run();
  } finally {
    headBuffers.acquire = acquire;
    headBuffers.release = release;
  }
  assertEquals(lent.size, 0, "all buffers are given back");
}

Deno.test("whatever two tries do and when, one answer reaches the client, and nothing is left", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        steps: fc.array(step, { minLength: 4, maxLength: 24 }),
        perTryTimeout: fc.constantFrom(undefined, 300, 600),
        maxWrite: fc.constantFrom(100, 3_000, 100_000),
        clients: fc.integer({ min: 1, max: 3 }),
      }),
      ({ steps, perTryTimeout, maxWrite, clients }) =>
        watchBuffers(async () => {
          const scene = new Scene(perTryTimeout, maxWrite);
          for (let i = 0; i < clients; i++) scene.start(`c${i}`);
          for (const step of steps) await scene.act(step);
          await scene.finish();
        }),
    ),
    { numRuns: 150, seed: 4 },
  );
});

Deno.test("so it is in every order of two events around a race", async () => {
  const events: Action[] = [
    "answer",
    "begin",
    "refuse",
    "hint",
    "garbage",
    "close",
    "reset",
    "time",
    "leave",
  ];
  for (const first of events) {
    for (const second of events) {
      for (const [one, other] of [[0, 1], [1, 0], [0, 0]] as const) {
        for (const settles of [false, true]) {
          await watchBuffers(async () => {
            const scene = new Scene(600, 100_000);
            scene.start("c");
            await scene.lb.time.expire(100);
            assertEquals(scene.asked.map(({ host }) => host), [A, B]);
            const [a, b] = scene.asked;
            const act = (action: Action, asked: Asked) => {
              const which = Math.max(scene.asked.indexOf(asked), 0);
              return scene.act({ action, which, ms: 500, settles });
            };
            const tries = [a!, b!] as const;
            await act(first, tries[one]);
            await act(second, tries[other]);
            await scene.finish();
          });
        }
      }
    }
  }
});
