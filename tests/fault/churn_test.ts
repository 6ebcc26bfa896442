import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { type HttpL4, type HttpL7, RouteBuilder } from "../../mod.ts";
import {
  type Answer,
  delay,
  latin1,
  Peer,
  runL4,
  runL7,
  type Running,
  serveHttp,
  serveName,
  serveScript,
  settled,
  until,
} from "../support/net.ts";

const TIMES = 1000;
/** Backends that are in at the same time beside the one that stays. */
const AT_ONCE = 5;

/** A backend that answers `ok` to everything, cheap enough to have a thousand of them. */
class Worker {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #connections = new Set<Promise<void>>();
  readonly #loop: Promise<void>;
  requests = 0;

  constructor() {
    this.#loop = this.#accept();
  }

  get addr(): string {
    return `127.0.0.1:${(this.#listener.addr as Deno.NetAddr).port}`;
  }

  async #accept(): Promise<void> {
    try {
      for await (const conn of this.#listener) {
        const serving = this.#serve(conn).finally(() => this.#connections.delete(serving));
        this.#connections.add(serving);
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  }

  async #serve(conn: Deno.Conn): Promise<void> {
    const answer = latin1("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    const buffer = new Uint8Array(4096);
    // The requests have no body and fit into one segment.
    while (await conn.read(buffer) !== null) {
      this.requests++;
      await conn.write(answer);
    }
    conn.close();
  }

  /** Resolves when the balancer has closed all connections. */
  async close(): Promise<void> {
    await Promise.all(this.#connections);
    this.#listener.close();
    await this.#loop;
  }
}

/** Clients that ask without end, on connections that stay open and on new ones. */
class Load {
  readonly #clients: Promise<PromiseSettledResult<void>[]>;
  #done = false;
  answered = 0;

  constructor(addr: Deno.Addr, path: string) {
    const check = ({ status, text, headers }: Answer) => {
      assertEquals([status, text, headers.get("connection")], [200, "ok", null]);
      this.answered++;
    };
    const keptOpen = async () => {
      await using peer = await Peer.connect(addr);
      while (!this.#done) {
        check(await peer.get(path));
        await delay(1);
      }
    };
    const eachAnew = async () => {
      while (!this.#done) {
        await using peer = await Peer.connect(addr);
        check(await peer.get(path));
        await delay(1);
      }
    };
    this.#clients = Promise.allSettled([
      keptOpen(),
      keptOpen(),
      keptOpen(),
      eachAnew(),
      eachAnew(),
    ]);
  }

  /** Fails when one request did. */
  async end(): Promise<number> {
    this.#done = true;
    for (const result of await this.#clients) {
      if (result.status === "rejected") throw result.reason;
    }
    return this.answered;
  }
}

/**
 * Puts a thousand backends in under load, one by one, and takes each out again after some others. A
 * backend goes on until the load has ended: what it had when it was taken out is for it to finish.
 *
 * @returns How many requests were answered.
 */
async function churn(
  load: { readonly addr: Deno.Addr; readonly path: string },
  add: (addr: string, index: number) => Promise<void> | void,
  remove: (addr: string, index: number) => Promise<void> | void,
): Promise<number> {
  const workers: Worker[] = [];
  const clients = new Load(load.addr, load.path);
  const work = async () => {
    for (let i = 0; i < TIMES + AT_ONCE; i++) {
      if (i < TIMES) {
        const worker = new Worker();
        workers.push(worker);
        await add(worker.addr, i);
      }
      const oldest = i - AT_ONCE;
      if (oldest >= 0) await remove(workers[oldest]!.addr, oldest);
      // Lets the load in between.
      await delay(0);
    }
  };
  const [result] = await Promise.allSettled([work()]);
  const [answered] = await Promise.allSettled([clients.end()]);
  await Promise.all(workers.map((worker) => worker.close()));
  if (result.status === "rejected") throw result.reason;
  if (answered.status === "rejected") throw answered.reason;
  return answered.value;
}

/** Only what is still configured may have series. */
function assertNoSeriesLeft({ lb }: Running<HttpL7 | HttpL4>): void {
  const backends = new Set(lb.backends().map(({ id }) => id));
  const routes = new Set(lb.management.listRoutes().map(({ id }) => id));
  for (const metrics of lb.metrics.listeners()) {
    const left = [
      ...[...metrics.upstreamSeries()].map(([id]) => id).filter((id) => !backends.has(id)),
      ...[...metrics.requestSeries()].flatMap(({ backend, route }) => [
        ...(backend === "" || backends.has(backend) ? [] : [backend]),
        ...(route === "-" || routes.has(route) ? [] : [route]),
      ]),
    ];
    assertEquals(left, [], `${left.length} series of removed things are left`);
  }
}

/** A WebSocket that is used all the time. */
async function openWebSocket(balancer: Running<unknown>, path: string) {
  const socket = new WebSocket(balancer.origin.replace("http", "ws") + path);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = reject;
  });
  let messages = 0;
  let closed = false;
  socket.onmessage = ({ data }) => {
    assertEquals(data, `${messages}`);
    messages++;
    setTimeout(() => socket.readyState === WebSocket.OPEN && socket.send(`${messages}`), 2);
  };
  socket.onclose = () => closed = true;
  socket.send("0");
  return {
    get messages() {
      return messages;
    },
    async end() {
      assertEquals(closed, false, "the WebSocket was cut");
      await delay(5);
      socket.close();
      await until(() => closed, "the WebSocket does not close");
    },
  };
}

const serveWebSockets = () =>
  serveHttp((request) => {
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.onmessage = ({ data }) => socket.send(data);
    return response;
  });

/** Sends a management request and wants it to succeed. */
async function manage(peer: Peer, method: string, path: string, body?: unknown): Promise<unknown> {
  const json = body === undefined ? "" : JSON.stringify(body);
  const answer = await peer.ask(
    `${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${json.length}\r\n\r\n${json}`,
  );
  assert(answer.status === 200 || answer.status === 201, answer.text);
  return JSON.parse(answer.text);
}

Deno.test("a thousand backends come and go in the pool of HttpL7 and no request fails", async () => {
  const stays = new Worker();
  await using chat = await serveWebSockets();
  {
    await using balancer = await runL7({
      backends: [stays.addr],
      routes: [new RouteBuilder().path("/chat").target(chat.addr).build()],
      fallback: true,
    });
    const { lb } = balancer;
    const socket = await openWebSocket(balancer, "/chat");
    let served = 0;
    const answered = await churn(
      { addr: balancer.addr, path: "/" },
      (addr) => void lb.addBackend(addr),
      (addr) => {
        const info = lb.backends().find((backend) => backend.addr.endsWith(addr))!;
        served += info.in_flight;
        lb.removeBackend(info.id);
      },
    );
    await socket.end();
    await settled(lb);
    assertGreater(answered, TIMES / 2);
    assertGreater(socket.messages, 20);
    assertGreater(served, 0, "no backend was removed while it served");
    assertLess(stays.requests, answered, "the others served nothing");
    assertNoSeriesLeft(balancer);
    assertEquals(lb.backends().length, 2);
  }
  await stays.close();
});

Deno.test("a thousand routes come and go by POST /lb/add and no request fails", async () => {
  const stays = new Worker();
  await using chat = await serveWebSockets();
  {
    await using balancer = await runL7({
      backends: [stays.addr],
      routes: [
        new RouteBuilder().path("/chat").target(chat.addr).build(),
        new RouteBuilder().path("/load").target(stays.addr).build(),
      ],
    });
    const socket = await openWebSocket(balancer, "/chat");
    await using manager = await Peer.connect(balancer.addr);
    await using client = await Peer.connect(balancer.addr);
    const routes: string[] = [];
    const answered = await churn({ addr: balancer.addr, path: "/load/x" }, async (addr, i) => {
      // Half of them join the route under load, half have one of their own.
      const path = i % 2 === 0 ? "/load" : `/own/${i}`;
      const body = { backend_addr: `http://${addr}`, paths: [path] };
      const { route_id } = await manage(manager, "POST", "/lb/add", body) as { route_id: string };
      routes[i] = route_id;
      if (i % 2 === 1) assertEquals((await client.get(path)).text, "ok");
    }, async (addr, i) => {
      const path = i % 4 === 3
        ? `/lb/routes/${routes[i]}`
        : `/lb/backends/${encodeURIComponent(`http://${addr}`)}`;
      await manage(manager, "DELETE", path);
      if (i % 2 === 1) assertEquals((await client.get(`/own/${i}`)).status, 404);
    });
    await socket.end();
    await settled(balancer.lb);
    assertGreater(answered, TIMES / 2);
    assertGreater(socket.messages, 20);
    assertNoSeriesLeft(balancer);
    assertEquals(balancer.lb.routes().length, 2);
    assertEquals(balancer.lb.backends().length, 2);
  }
  await stays.close();
});

Deno.test("a thousand backends come and go at layer 4 and no connection is cut", async () => {
  const stays = new Worker();
  await using echo = await serveScript(async (peer) => {
    while (await peer.fill()) await peer.write(await peer.read(peer.pending));
  });
  {
    await using balancer = await runL4({ backends: [echo.addr] });
    const { lb } = balancer;
    // The one connection that is open throughout goes to the backend that leaves first.
    await using open = await Peer.connect(balancer.addr);
    await open.write("x");
    assertEquals((await open.read(1)).length, 1);
    lb.addBackend(stays.addr);
    lb.removeBackend(echo.addr);
    let done = false;
    let bytes = 0;
    const counting = (async () => {
      for (; !done; bytes += 1000) {
        await open.write("y".repeat(1000));
        assertEquals((await open.read(1000)).length, 1000);
        await delay(1);
      }
    })();
    const answered = await churn({ addr: balancer.addr, path: "/" }, async (addr) => {
      await using manager = await Peer.connect(balancer.addr);
      await manage(manager, "POST", "/lb/add", { addr });
    }, async (addr) => {
      await using manager = await Peer.connect(balancer.addr);
      await manage(manager, "DELETE", `/lb/backends/${encodeURIComponent(`http://${addr}`)}`);
    });
    done = true;
    await counting;
    assertGreater(answered, TIMES / 2);
    assertGreater(bytes, 20_000);
    await open.end();
    assertEquals((await open.rest()).end, "eof");
    await settled(lb);
    assertNoSeriesLeft(balancer);
    assertEquals(lb.backends().length, 1);
  }
  await stays.close();
});

/** Bytes in use after a full collection, which V8 lets nobody ask for by default. */
const usedHeap: () => number = (() => {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  return () => {
    collect();
    return Deno.memoryUsage().heapUsed;
  };
})();

Deno.test("thousands of backends and routes that came and went leave no memory behind", async () => {
  await using backend = serveName("ok");
  await using balancer = await runL7({ backends: [backend.addr], fallback: true });
  const { lb } = balancer;
  await using client = await Peer.connect(balancer.addr);
  const round = async () => {
    for (let i = 0; i < TIMES; i++) {
      const target = `127.0.0.1:${10_000 + i}`;
      const route = lb.addRoute(
        new RouteBuilder().path(`/gone/${i}`).header("x-a", `${i}`).target(target).build(),
      );
      lb.addBackend({ addr: target, weight: 0 });
      if (i % 10 === 0) assertEquals((await client.get("/")).text, "ok");
      lb.removeBackend(target);
      lb.removeRoute(route);
    }
    await settled(lb);
    return usedHeap();
  };
  await round();
  const sizes = [await round(), await round(), await round()];
  const growth = Math.max(...sizes) - sizes[0]!;
  assertLess(growth, 300_000, `the heap had ${sizes.join(", ")} bytes`);
  assertNoSeriesLeft(balancer);
});
