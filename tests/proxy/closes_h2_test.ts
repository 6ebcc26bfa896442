/** The same over HTTP/2, of clients that take no part in what they are asked. */
import { assertEquals } from "@std/assert";
import { type Duplex, writeAll } from "../../lib/common/duplex.ts";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";
import { TunnelConnection } from "../../lib/grpc/l4/connection.ts";
import { GrpcConnection } from "../../lib/grpc/l7/connection.ts";
import { DEFAULT_H2_OPTIONS, type H2Options } from "../../lib/http/h2/options.ts";
import { CLIENT_PREFACE } from "../../lib/http/h2/preface.ts";
import { Setting } from "../../lib/http/h2/settings.ts";
import type { Served } from "../../lib/mux/listener.ts";
import { AccessLog } from "../../lib/observe/access_log.ts";
import { settle } from "../support/fake_clock.ts";
import { GrpcL4Scene } from "../support/grpc_l4.ts";
import type { Call } from "../support/h2_peer.ts";
import { concat, headers, settings } from "../support/h2_raw.ts";

const KINDS: readonly [name: string, make: (duplex: Duplex, scene: GrpcL4Scene) => Served][] = [
  ["grpc-l7", (duplex, { context }) => new GrpcConnection(duplex, context.calls)],
  ["grpc-l4", (duplex, { context }) => new TunnelConnection(duplex, context)],
];

/** A client that is the test, and its connection. */
class Silent implements AsyncDisposable {
  readonly scene: GrpcL4Scene;
  readonly server: Served;
  readonly #socket: Duplex;
  readonly #served: Promise<void>;
  readonly #log: AccessLog;
  finished = false;

  constructor(
    make: (typeof KINDS)[number][1],
    { h2 = {}, lines = [], onCall = () => {} }: {
      readonly h2?: Partial<H2Options>;
      readonly lines?: string[];
      readonly onCall?: (call: Call) => void;
    },
  ) {
    const decoder = new TextDecoder();
    const accessLog = this.#log = new AccessLog({
      format: "json",
      sink: {
        write: (bytes) => {
          lines.push(...decoder.decode(bytes).trimEnd().split("\n"));
          return Promise.resolve();
        },
        close: () => Promise.resolve(),
      },
    });
    this.scene = new GrpcL4Scene({ calls: { h2, accessLog }, onCall });
    const [ours, theirs] = makeMemoryPair();
    this.#socket = ours;
    this.server = make(theirs, this.scene);
    this.#served = this.server.serve().then(() => void (this.finished = true));
  }

  send(...parts: readonly Uint8Array[]): Promise<void> {
    return writeAll(this.#socket, concat(...parts));
  }

  /** Reads what comes, to the end, and throws it away. */
  async read(): Promise<void> {
    const into = new Uint8Array(64 * 1024);
    try {
      while (await this.#socket.read(into) !== null);
    } catch {
      // The balancer has closed the connection, which is an end like any other here.
    }
  }

  /** What was counted, once the balancer is done with the connection. */
  async closes(): Promise<Record<string, number>> {
    for (let i = 0; i < 100 && !this.finished; i++) await settle();
    assertEquals(this.finished, true);
    return Object.fromEntries(this.scene.listener.closes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    await this.#served;
    await this.#log.close();
    await this.scene[Symbol.asyncDispose]();
  }
}

for (const [name, make] of KINDS) {
  Deno.test(`${name}: a client that sends no SETTINGS is counted when it is closed`, async () => {
    await using silent = new Silent(make, { h2: { settingsTimeout: 2_000 } });
    void silent.read();
    await silent.send(CLIENT_PREFACE);
    await silent.scene.time.expire(2_000);
    await silent.scene.time.expire(1_000);
    assertEquals(await silent.closes(), { settings_timeout: 1 });
  });

  Deno.test(`${name}: a client that says nothing may go while we end, and is counted as that`, async () => {
    await using silent = new Silent(make, {});
    void silent.read();
    await silent.send(CLIENT_PREFACE);
    await settle();
    silent.server.drain(500);
    await silent.scene.time.expire(500);
    // It does not answer GOAWAY either.
    await silent.scene.time.expire(DEFAULT_H2_OPTIONS.writeTimeout);
    assertEquals(await silent.closes(), { drain_idle_timeout: 1 });
  });

  Deno.test(`${name}: a client that answers no PING is counted when it is closed`, async () => {
    const h2 = { keepaliveTime: 10_000, keepaliveTimeout: 2_000, keepaliveIdle: true };
    await using silent = new Silent(make, { h2 });
    void silent.read();
    await silent.send(CLIENT_PREFACE, settings());
    await silent.scene.time.expire(10_000);
    await silent.scene.time.expire(2_000);
    assertEquals(await silent.closes(), { keepalive_timeout: 1 });
  });

  Deno.test(`${name}: a client that reads nothing is counted when it is closed`, async () => {
    await using silent = new Silent(make, { h2: { writeTimeout: 2_000 } });
    await silent.send(CLIENT_PREFACE, settings());
    await silent.scene.time.expire(2_000);
    assertEquals(await silent.closes(), { write_timeout: 1 });
  });

  Deno.test(`${name}: a call that is cut because we end says so in the log`, async () => {
    const lines: string[] = [];
    await using silent = new Silent(make, { lines });
    void silent.read();
    await silent.send(CLIENT_PREFACE, settings(), headers(1, 0x4));
    await silent.scene.until(() => silent.scene.backend().calls.length === 1, "the call");
    silent.server.abort();
    assertEquals(await silent.closes(), {}, "whoever ends all of them counts them");
    await silent.scene.until(() => lines.length === 1, "the line");
    assertEquals(JSON.parse(lines[0]!).error, "shutdown");
  });
}

Deno.test("grpc-l7: a client that keeps the window of its connection shut is counted when that ends", async () => {
  await using silent = new Silent(KINDS[0]![1], {
    h2: { windowTimeout: 5_000 },
    onCall: (call) => {
      call.head();
      call.send(new Uint8Array(200_000));
    },
  });
  void silent.read();
  await silent.send(
    CLIENT_PREFACE,
    settings([Setting.InitialWindowSize, 1_000_000]),
    headers(1, 0x5),
  );
  await silent.scene.until(() => silent.scene.backend().calls.length === 1, "the call");
  for (let passed = 0; passed < 200_000 && !silent.finished; passed += 1_000) {
    await silent.scene.time.advance(1_000);
  }
  assertEquals(await silent.closes(), { window_stall: 1 });
  assertEquals([...silent.scene.listener.refusals], [["client_stalled", 1]]);
});
