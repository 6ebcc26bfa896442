/**
 * Peers of a gRPC balancer at layer 4 that misbehave, beside clean calls of other clients to the same backend: there a
 * client has a connection of its backend for itself, so that whatever becomes of one is nobody else's.
 */
import { assert, assertEquals } from "@std/assert";
import { GrpcL4 } from "../../mod.ts";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { FrameType } from "../../lib/http/h2/frames.ts";
import { CLIENT_PREFACE } from "../../lib/http/h2/preface.ts";
import { freePort } from "../../scripts/bench/process.ts";
import { besideClients } from "../support/clean_traffic.ts";
import { BAD, callClean } from "../support/grpc_fault.ts";
import { DONE, H2Client, OK } from "../support/h2_peer.ts";
import { concat, data, frame, goaway, headers, rst, settings, u32 } from "../support/h2_raw.ts";
import {
  answer,
  callFields,
  Wire,
  WireBackend,
  type WireOptions,
  type WireRequest,
} from "../support/h2_wire.ts";
import {
  delay,
  descriptorCount,
  descriptorsBackTo,
  Peer,
  run,
  settled,
  until,
  within,
} from "../support/net.ts";

const END_HEADERS = 0x4;
const END = 0x5;
const UNAVAILABLE = "14";
/** How long anything may take that no limit ends, in milliseconds. */
const PATIENCE = 20_000;

interface Scene {
  readonly addr: Deno.Addr;
  readonly backend: WireBackend;
  /** Requests of the clients that meet the fault. */
  bad(): WireRequest[];
  /** Opens a connection of frames; closed at the end. */
  wire(options?: WireOptions): Promise<Wire>;
}

/**
 * A test beside clean calls.
 *
 * @param misbehave What becomes of requests with the path {@linkcode BAD}, when they have ended.
 */
function fault(
  name: string,
  misbehave: (request: WireRequest) => unknown,
  scene: (scene: Scene) => Promise<void>,
): void {
  Deno.test(`grpc-l4: ${name}`, async () => {
    const before = descriptorCount();
    {
      await using backend = WireBackend.listen({
        onEnd: (request) => void (request.path === BAD ? misbehave(request) : answer(request)),
      });
      await using balancer = await run(
        new GrpcL4({
          backends: [backend.addr],
          // Connections that are lost are what is tested, and the backend is the only one.
          outlierDetection: false,
          timeouts: { shutdown: 2_000 },
        }),
      );
      const { addr, lb } = balancer;
      await using stack = new AsyncDisposableStack();
      const clean = [
        stack.use(await H2Client.connect(addr)),
        stack.use(await H2Client.connect(addr)),
      ];
      await besideClients(clean.map((client) => () => callClean(client)), () =>
        within(
          60_000,
          "the scene",
          scene({
            addr,
            backend,
            bad: () => backend.requests.filter(({ path }) => path === BAD),
            wire: async (options) => stack.use(await Wire.open(addr, options)),
          }),
        ));
      await stack.disposeAsync();
      await settled(lb);
    }
    await descriptorsBackTo(before);
  });
}

const head = (id: number) => headers(id, END_HEADERS, callFields(BAD));
const call = (id: number) => concat(head(id), data(id, 5, 1));

/** Waits until a backend is told that nobody wants an answer any more, by a reset or the end of the connection. */
async function given({ wire, stream }: WireRequest): Promise<void> {
  await within(
    PATIENCE,
    "the end of a call at its backend",
    wire.until(() => stream.reset !== undefined || wire.ended, "the end of a call"),
  );
}

for (const [name, code] of Object.entries(H2Code)) {
  if (code === H2Code.RefusedStream) continue;
  fault(
    `RST_STREAM with ${name} instead of an answer reaches the client as it is`,
    ({ wire, id }) => wire.send(rst(id, code)),
    async ({ wire, bad }) => {
      const client = await wire();
      await client.send(call(1));
      assertEquals((await client.over(1)).reset, code);
      assertEquals(bad().length, 1);
    },
  );
}

fault("RST_STREAM inside an answer cuts it for the client too", ({ wire, id }) => {
  void wire.send(headers(id, END_HEADERS, OK), data(id, 5), rst(id, H2Code.InternalError));
}, async ({ wire }) => {
  const client = await wire();
  await client.send(call(1));
  const { reset, text } = await client.over(1);
  assertEquals([reset, text], [H2Code.InternalError, "aaaaa"]);
});

fault("GOAWAY with a call under way lets it come to its end, and the next client is served", async (
  { wire, id },
) => {
  await wire.send(headers(id, END_HEADERS, OK), data(id, 3), goaway(id));
  await delay(50);
  await wire.send(data(id, 3), headers(id, END, DONE));
}, async ({ wire }) => {
  for (let i = 0; i < 3; i++) {
    const client = await wire();
    await client.send(call(1));
    const stream = await client.over(1);
    assertEquals([stream.value("grpc-status"), stream.text], ["0", "aaaaaa"]);
  }
});

for (
  const [what, lose] of [
    ["closes its connection", ({ wire }: WireRequest) => wire.close()],
    ["ends its half", ({ wire }: WireRequest) => wire.end()],
    ["sends DATA on stream 0", ({ wire }: WireRequest) => wire.send(data(0, 1))],
    [
      "sends text",
      ({ wire }: WireRequest) => wire.send(new TextEncoder().encode("HTTP/1.1 200 OK\r\n\r\n")),
    ],
    [
      "sends a field block that cannot be decoded",
      ({ wire, id }: WireRequest) =>
        wire.send(frame(FrameType.Headers, END, id, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff])),
    ],
    [
      "sends a frame that is too large",
      ({ wire, id }: WireRequest) =>
        wire.send(concat([1, 0, 0], [FrameType.Data, 0], u32(id), new Uint8Array(65_536))),
    ],
  ] as const
) {
  fault(`a backend that ${what} loses the calls of that client, each once`, (request) => {
    if (request.wire.streams.size === 10) void lose(request);
  }, async ({ wire, bad }) => {
    const client = await wire();
    const ids = Array.from({ length: 10 }, (_, i) => 2 * i + 1);
    await client.send(...ids.map(call));
    for (const id of ids) {
      const stream = await client.over(id);
      assertEquals([stream.value("grpc-status"), stream.reset], [UNAVAILABLE, undefined]);
    }
    assertEquals(bad().length, 10);
  });
}

fault("a backend that never answers waits for its client, which may give it up", () => {}, async (
  { wire, bad },
) => {
  const client = await wire();
  await client.send(call(1), call(3));
  await until(() => bad().length === 2, "both requests");
  await client.send(rst(1, H2Code.Cancel));
  await given(bad()[0]!);
  assertEquals([bad()[0]!.stream.reset, bad()[1]!.stream.reset], [H2Code.Cancel, undefined]);
  await client.settle();
  assert(!client.stream(3).over);
});

for (const way of ["closes", "resets"] as const) {
  for (
    const [stage, begin] of [
      ["inside its requests", head],
      ["while it waits", call],
    ] as const
  ) {
    fault(`a client that ${way} its connection ${stage} gives its calls up`, () => {}, async (
      { addr, bad },
    ) => {
      const client = await Peer.connect(addr);
      await client.write(concat(CLIENT_PREFACE, settings(), begin(1), begin(3)));
      await until(() => bad().length === 2, "both requests");
      if (way === "resets") client.reset();
      await client.close();
      for (const request of bad()) await given(request);
    });
  }
}

fault("a client that grants no window stops its own answer only", (request) => {
  void answer(request, new Uint8Array(1 << 20));
}, async ({ wire, bad }) => {
  const stuck = await wire({ grants: false });
  await stuck.send(call(1));
  await stuck.until(() => stuck.stream(1).text.length >= 65_535, "what its window takes");
  await stuck.settle();
  assertEquals([stuck.stream(1).text.length, stuck.stream(1).over], [65_535, false]);
  assertEquals(bad().length, 1);
});

for (
  const [what, bytes] of [
    ["text", () => new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n")],
    ["DATA on stream 0", () => data(0, 1)],
    [
      "a field block in the middle of another",
      () => concat(headers(9, 0, callFields(BAD)), data(1, 1)),
    ],
    [
      "a frame that is too large",
      () => concat([1, 0, 0], [FrameType.Data, 0], u32(1), new Uint8Array(65_536)),
    ],
  ] as const
) {
  fault(`${what} from a client ends its connection and its calls`, () => {}, async (
    { wire, bad },
  ) => {
    const client = await wire();
    await client.send(head(1));
    await until(() => bad().length === 1 || client.ended, "the request");
    void client.send(bytes());
    await client.until(() => client.ended, "the end of the connection");
    assert(client.farewell !== undefined && client.farewell.code !== 0, client.describe());
    for (const request of bad()) await given(request);
  });
}

Deno.test("grpc-l4: a backend that refuses is passed over, and UNAVAILABLE is said when all do", async () => {
  const before = descriptorCount();
  {
    const port = freePort();
    await using alive = WireBackend.listen({ onEnd: (request) => void answer(request) });
    await using balancer = await run(
      new GrpcL4({ backends: [`127.0.0.1:${port}`, alive.addr], timeouts: { shutdown: 2_000 } }),
    );
    {
      await using beside = await H2Client.connect(balancer.addr);
      await besideClients([() => callClean(beside)], async () => {
        for (let i = 0; i < 6; i++) {
          await using client = await H2Client.connect(balancer.addr);
          await callClean(client);
        }
      });
    }
    // Its clients are told to go, so that none of them can be beside what follows.
    balancer.lb.removeBackend(alive.addr);
    {
      await using client = await H2Client.connect(balancer.addr);
      const call = client.call(BAD, { content: "ask" });
      const refused = await within(PATIENCE, "the refusal", call.done);
      assertEquals(refused.value("grpc-status"), UNAVAILABLE);
    }
    await settled(balancer.lb);
  }
  await descriptorsBackTo(before);
});

Deno.test("grpc-l4: a backend that is killed loses the calls on it, each once, and no others", async () => {
  const before = descriptorCount();
  {
    await using alive = WireBackend.listen({ onEnd: (request) => void answer(request) });
    await using mortal = WireBackend.listen({});
    await using balancer = await run(
      new GrpcL4({ backends: [mortal.addr], timeouts: { shutdown: 2_000 } }),
    );
    const { lb, addr } = balancer;
    {
      await using lost = await H2Client.connect(addr);
      const calls = Array.from({ length: 50 }, () => lost.call(BAD, { content: "ask" }));
      await until(() => mortal.requests.length === 50, "all requests");
      lb.addBackend(alive.addr);
      lb.removeBackend(mortal.addr);
      await using beside = await H2Client.connect(addr);
      await besideClients([() => callClean(beside)], async () => {
        await mortal[Symbol.asyncDispose]();
        for (const one of calls) {
          await within(PATIENCE, "a lost call", one.done);
          assertEquals([one.value("grpc-status"), one.reset], [UNAVAILABLE, undefined]);
        }
        assertEquals(mortal.requests.length, 50);
        await using next = await H2Client.connect(addr);
        await callClean(next);
      });
    }
    await settled(lb);
  }
  await descriptorsBackTo(before);
});
