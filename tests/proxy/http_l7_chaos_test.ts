import { assert, assertEquals } from "@std/assert";
import { settle } from "../support/fake_clock.ts";
import { Truncated } from "../support/http_text.ts";
import { A, B, type Client, L7 } from "../support/l7.ts";
import { Random } from "../support/prng.ts";
import type { BackendConnection, ScriptedBackend } from "../support/scripted_backend.ts";

// Many clients and backends at once that do what they should not, by a seeded chance. Whatever happens, an
// answer belongs to its request, every wait ends, and nothing is left behind.

const CLIENTS = 40;
const REQUESTS = 5;

/** The body that a backend gives to the request with this id. */
const bodyOf = (id: string) =>
  `answer to ${id} `.repeat(1 + (id.charCodeAt(id.length - 1) % 7) * 300);

/** A backend's side of one connection. */
async function misbehave(backend: BackendConnection, random: Random): Promise<void> {
  for (;;) {
    const head = await backend.head();
    if (head === undefined) return backend.close();
    const id = head.get("x-id") ?? "";
    const bodyless = head.start.startsWith("HEAD ");
    const body = bodyOf(id);
    const length = `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${
      bodyless ? "" : body
    }`;
    switch (random.below(14)) {
      case 0:
        return backend.close();
      case 1:
        return backend.reset();
      case 2:
        await backend.send("not HTTP at all\r\n\r\n");
        return backend.close();
      case 3:
        return; // silent for ever
      case 4:
        await backend.send(length);
        return backend.close();
      case 5:
        await backend.send(length.slice(0, random.below(length.length)));
        return random.next() < 0.5 ? backend.close() : backend.reset();
      case 6:
        await backend.content(head, false);
        await backend.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
        await backend.send(length);
        break;
      case 7:
        await backend.send(`HTTP/1.1 200 OK\r\n\r\n${bodyless ? "" : body}`);
        return backend.close();
      case 8: {
        if (head.get("expect") !== undefined) await backend.send("HTTP/1.1 100 Continue\r\n\r\n");
        await backend.content(head, false);
        const chunks = body.match(/.{1,500}/g)!
          .map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`).join("");
        await backend.send(
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
            (bodyless ? "" : `${chunks}0\r\nX-T: ${id}\r\n\r\n`),
        );
        break;
      }
      default:
        if (head.get("expect") !== undefined) await backend.send("HTTP/1.1 100 Continue\r\n\r\n");
        await backend.content(head, false);
        if (!await backend.send(length)) return backend.close();
    }
  }
}

/** A client's request, and how it is sent. */
function request(id: string, random: Random): { readonly head: string; readonly rest: string } {
  const fields = `Host: a\r\nX-Id: ${id}\r\n`;
  const upload = "u".repeat(random.below(40_000));
  switch (random.below(7)) {
    case 0:
      return {
        head: `POST / HTTP/1.1\r\n${fields}Content-Length: ${upload.length}\r\n\r\n`,
        rest: upload,
      };
    case 1:
      return {
        head: `PUT / HTTP/1.1\r\n${fields}Transfer-Encoding: chunked\r\n\r\n`,
        rest: `${(upload.length + 1).toString(16)}\r\nx${upload}\r\n0\r\n\r\n`,
      };
    case 2:
      return {
        head: `PUT / HTTP/1.1\r\n${fields}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n`,
        rest: "body",
      };
    case 3:
      return { head: `HEAD / HTTP/1.1\r\n${fields}\r\n`, rest: "" };
    case 4:
      return { head: `GET / HTTP/1.0\r\nConnection: keep-alive\r\n${fields}\r\n`, rest: "" };
    default:
      return { head: `GET / HTTP/1.1\r\n${fields}\r\n`, rest: "" };
  }
}

/** What a client saw: how many answers of backends, and how many of the balancer. */
interface Seen {
  whole: number;
  refused: number;
  cut: number;
}

async function use(client: Client, name: string, random: Random, seen: Seen): Promise<void> {
  for (let turn = 0; turn < REQUESTS; turn++) {
    const id = `${name}-${turn}`;
    const { head, rest } = request(id, random);
    const fate = random.below(16);
    if (fate === 0) {
      await client.send((head + rest).slice(0, random.below(head.length + rest.length)));
      if (random.next() < 0.5) client.reset();
      return client.close();
    }
    if (fate === 1) {
      void client.send(head + rest);
      await settle();
      client.reset();
      return client.close();
    }
    // Half of a request, and then nothing: the balancer must end it.
    const text = fate === 2 ? (head + rest).slice(0, -1) : head + rest;
    void client.send(text);
    try {
      let response = await client.response(head.startsWith("HEAD "));
      while (response.status < 200) response = await client.response(head.startsWith("HEAD "));
      if (response.status === 200) {
        seen.whole++;
        if (!head.startsWith("HEAD ")) assertEquals(response.body, bodyOf(id), id);
      } else {
        seen.refused++;
        const { code } = head.startsWith("HEAD ") ? { code: "-" } : JSON.parse(response.body);
        assert(code !== "internal", id);
      }
      if (response.get("connection") === "close") return client.close();
    } catch (error) {
      if (!(error instanceof Truncated)) throw error;
      seen.cut++;
      return client.close();
    }
  }
  client.close();
}

for (const seed of [1, 2, 3, 4]) {
  Deno.test(`under chaos an answer belongs to its request and nothing stays behind, seed ${seed}`, async () => {
    const random = new Random(seed);
    const lb = new L7({
      backends: [A, B],
      timeouts: {
        requestHead: 1_000,
        idle: 2_000,
        bodyStall: 1_000,
        response: 2_000,
        expectContinue: 200,
      },
      connections: { maxConnections: 12, maxWaiting: 10, waitTimeout: 500, idleTimeout: 3_000 },
      faults: seed % 2 === 0 ? { maxRead: 700, maxWrite: 900 } : {},
    });
    const answer = async (script: ScriptedBackend) => {
      for (;;) {
        const connection = await script.accept();
        // A connection that ends inside a message is what this is about.
        void misbehave(connection, random).catch(() => connection.close());
      }
    };
    void answer(lb.at(A));
    void answer(lb.at(B));
    const seen: Seen = { whole: 0, refused: 0, cut: 0 };
    let running = CLIENTS;
    const clients = Array.from(
      { length: CLIENTS },
      (_, i) => use(lb.connect(), `c${i}`, random, seen).finally(() => running--),
    );
    const all = Promise.all(clients);
    // One client's failed assertion must not be lost while the others are waited for.
    all.catch(() => running = 0);
    for (let turns = 0; running > 0; turns++) {
      assert(turns < 1_000, `${running} clients still wait after 100 s`);
      await lb.time.advance(100);
    }
    await all;
    assert(seen.whole > 20 && seen.refused > 5 && seen.cut > 0, JSON.stringify(seen));
    for (let turns = 0; turns < 40; turns++) await lb.time.advance(100);
    assertEquals([lb.live(A).http.idle, lb.live(B).http.idle], [0, 0]);
    await lb.assertSettled();
  });
}
