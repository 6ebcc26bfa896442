/** A backend of HTTP that is killed and comes back a thousand times while it is used. */
import { assert, assertEquals } from "@std/assert";
import { RouteBuilder } from "../../mod.ts";
import { freePort } from "../../scripts/bench/process.ts";
import { besideCleanTraffic } from "../support/clean_traffic.ts";
import {
  Cut,
  delay,
  descriptorCount,
  descriptorsBackTo,
  Peer,
  runL7,
  type Scripted,
  serveName,
  serveScript,
  settled,
  within,
} from "../support/net.ts";

const TIMES = 1_000;
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";

/** A backend that resets everything when it is killed, on a port that it comes back on. */
class Mortal {
  #server: Scripted | undefined;
  readonly #port: number;
  /** Requests that it got in all its lives. */
  requests = 0;
  #used = Promise.withResolvers<void>();

  constructor(port: number) {
    this.#port = port;
  }

  get addr(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** Resolves when it gets a request in its present life. */
  get used(): Promise<void> {
    return this.#used.promise;
  }

  async live(): Promise<void> {
    this.#used = Promise.withResolvers();
    this.#server = await serveScript(async (peer) => {
      for (;;) {
        if ((await peer.head()).startsWith("POST")) await peer.read(4);
        this.requests++;
        this.#used.resolve();
        // Time to be killed over it.
        await delay(1);
        await peer.write(OK);
      }
    }, { host: "127.0.0.1", port: this.#port });
  }

  async die(): Promise<void> {
    for (const peer of this.#server!.peers) peer.reset();
    await this.#server![Symbol.asyncDispose]();
  }
}

/** A client that asks without end on a connection that stays open. */
class Asker {
  readonly #request: string;
  readonly #run: Promise<void>;
  #done = false;
  answered = 0;
  /** Answers that were errors, by status and code. */
  readonly errors = new Map<string, number>();
  /** How often a connection ended without an answer. */
  cut = 0;

  constructor(addr: Deno.Addr, request: string) {
    this.#request = request;
    this.#run = this.#ask(addr);
  }

  async #ask(addr: Deno.Addr): Promise<void> {
    let peer = await Peer.connect(addr);
    while (!this.#done) {
      try {
        const { status, text } = await peer.ask(this.#request);
        if (status === 200) this.answered++;
        else {
          const error = `${status} ${JSON.parse(text).code}`;
          this.errors.set(error, (this.errors.get(error) ?? 0) + 1);
        }
      } catch (error) {
        if (!(error instanceof Cut)) throw error;
        this.cut++;
        await peer.close();
        peer = await Peer.connect(addr);
      }
      await delay(0);
    }
    await peer.close();
  }

  async end(): Promise<void> {
    this.#done = true;
    await this.#run;
  }
}

Deno.test("a backend that is killed and back a thousand times costs no request that may be sent again", async () => {
  const before = descriptorCount();
  {
    const mortal = new Mortal(freePort());
    await mortal.live();
    await using immortal = await serveScript(async (peer) => {
      for (;;) {
        if ((await peer.head()).startsWith("POST")) await peer.read(4);
        await peer.write(OK);
      }
    });
    await using clean = serveName("clean");
    await using balancer = await runL7({
      backends: [mortal.addr, immortal.addr],
      routes: [new RouteBuilder().path("/clean").target(clean.addr).build()],
      fallback: true,
      // It is to be used again as soon as it is back, and a retry is to be had for each request.
      outlierDetection: false,
      retries: { budget: { share: 1 } },
    });
    const getters = Array.from({ length: 4 }, () => new Asker(balancer.addr, GET));
    const poster = new Asker(balancer.addr, POST);
    await besideCleanTraffic(balancer.addr, "/clean", "clean", async () => {
      for (let i = 0; i < TIMES; i++) {
        await within(5_000, "its next request", mortal.used);
        await mortal.die();
        await mortal.live();
      }
    });
    await Promise.all([...getters, poster].map((asker) => asker.end()));
    for (const { answered, errors, cut } of getters) {
      assertEquals([Object.fromEntries(errors), cut], [{}, 0]);
      assert(answered > TIMES / 10, `only ${answered} answers`);
    }
    // What may have been acted on is not sent again; all else is.
    assertEquals(poster.cut, 0);
    const allowed = ["502 upstream_reset", "502 upstream_closed"];
    assertEquals([...poster.errors.keys()].filter((error) => !allowed.includes(error)), []);
    assert(mortal.requests >= TIMES);
    await settled(balancer.lb);
    await mortal.die();
  }
  await descriptorsBackTo(before);
});
