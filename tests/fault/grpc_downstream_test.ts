/**
 * Clients of gRPC that misbehave, on real sockets, each with what becomes of them and of what they asked for. Beside
 * each, clean calls go on over two connections of other clients.
 */
import { assert, assertEquals } from "@std/assert";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { FrameType } from "../../lib/http/h2/frames.ts";
import { CLIENT_PREFACE } from "../../lib/http/h2/preface.ts";
import { Setting } from "../../lib/http/h2/settings.ts";
import { BAD, type GrpcFaultScene, h2Fault } from "../support/grpc_fault.ts";
import { DONE, OK } from "../support/h2_peer.ts";
import {
  concat,
  data,
  frame,
  goaway,
  headers,
  rst,
  settings,
  u32,
  windowUpdate,
} from "../support/h2_raw.ts";
import {
  answer,
  callFields,
  Wire,
  type WireBackend,
  type WireRequest,
} from "../support/h2_wire.ts";
import { delay, Peer, until, within } from "../support/net.ts";

const END_HEADERS = 0x4;
const END = 0x5;
const { Cancel } = H2Code;

type Scene = GrpcFaultScene & { readonly faulty: WireBackend };

/** Milliseconds that have passed since a moment of `performance.now()`. */
const since = (moment: number) => performance.now() - moment;

/** The head of a call whose request goes on. */
const head = (id: number) => headers(id, END_HEADERS, callFields(BAD));
const call = (id: number, content = 5) => concat(head(id), data(id, content, 1));

/** Waits until so many requests have reached the backend. */
async function arrived(faulty: WireBackend, count: number): Promise<WireRequest> {
  await until(() => faulty.requests.length >= count, `request ${count} reaches the backend`);
  return faulty.requests[count - 1]!;
}

/** Waits until a backend is told that nobody wants an answer any more. */
async function cancelled({ wire, stream }: WireRequest): Promise<void> {
  await within(
    1_000,
    "the reset of the stream",
    (async () => {
      await wire.until(() => stream.reset !== undefined, "the reset");
    })(),
  );
  assertEquals(stream.reset, Cancel);
}

// Clients that go away, at every stage.

for (
  const [stage, begin, script] of [
    ["before its request has ended", head, {}],
    ["inside its request", (id: number) => concat(head(id), data(id, 100)), {}],
    ["while it waits", call, {}],
    ["behind the head of its answer", call, {
      onEnd: ({ wire, id }: WireRequest) => void wire.send(headers(id, END_HEADERS, OK)),
    }],
    ["inside its answer", call, {
      onEnd: ({ wire, id }: WireRequest) =>
        void wire.send(headers(id, END_HEADERS, OK), data(id, 5)),
    }],
  ] as const
) {
  h2Fault(`a call that its client cancels ${stage} is cancelled at its backend`, script, async (
    { wire, faulty },
  ) => {
    const client = await wire();
    void client.send(begin(1));
    const request = await arrived(faulty, 1);
    if ("onEnd" in script) await client.until(() => client.stream(1).sections.length > 0, "a head");
    void client.send(rst(1, Cancel));
    await cancelled(request);
    // Its connection goes on, and so does that of the backend.
    faulty.script = { onEnd: (request) => void answer(request) };
    void client.send(call(3));
    assertEquals((await client.over(3)).value("grpc-status"), "0");
    assertEquals(faulty.wires.length, 1);
  });

  for (const way of ["closes", "resets"] as const) {
    h2Fault(
      `a client that ${way} its connection ${stage} cancels its calls at once`,
      script,
      async (
        { addr, faulty },
      ) => {
        const client = await Peer.connect(addr);
        await client.write(concat(CLIENT_PREFACE, settings(), begin(1), begin(3)));
        const requests = [await arrived(faulty, 1), await arrived(faulty, 2)];
        if (way === "resets") client.reset();
        await client.close();
        for (const request of requests) await cancelled(request);
      },
    );
  }
}

h2Fault("a client that goes away with a hundred calls under way cancels each of them", {}, async (
  { addr, faulty },
) => {
  const client = await Peer.connect(addr);
  const calls = Array.from({ length: 100 }, (_, i) => call(2 * i + 1));
  await client.write(concat(CLIENT_PREFACE, settings(), ...calls));
  await arrived(faulty, 100);
  client.reset();
  for (const request of faulty.requests) await cancelled(request);
}, { wire: { settings: [[Setting.MaxConcurrentStreams, 1000]] } });

h2Fault("a client that ends its half behind its calls gets the answers", {
  async onEnd(request) {
    await delay(50);
    void answer(request);
  },
}, async ({ wire }) => {
  const client = await wire();
  void client.send(call(1), call(3));
  await client.end();
  for (const id of [1, 3]) {
    const stream = await client.over(id);
    assert(
      stream.value("grpc-status") === "0" || client.ended,
      "it is answered, or its connection is over",
    );
  }
});

h2Fault("a client that says GOAWAY gets what it has asked for", {
  async onEnd(request) {
    await delay(50);
    void answer(request);
  },
}, async ({ wire }) => {
  const client = await wire();
  void client.send(call(1), call(3), goaway(0));
  for (const id of [1, 3]) assertEquals((await client.over(id)).value("grpc-status"), "0");
  await client.until(() => client.ended, "the end of the connection");
});

// Clients that do not read.

h2Fault("a client that grants no window stops its own answer only", {
  onEnd: (request) => void answer(request, new Uint8Array(1 << 20)),
}, async ({ wire, faulty, begin }) => {
  const stuck = await wire({ grants: false });
  void stuck.send(call(1));
  await stuck.until(() => stuck.stream(1).received === 65_535, "all that the window lets through");
  // The answers to others come over the same connection of the backend.
  const whole = await begin().done;
  assertEquals([whole.value("grpc-status"), whole.received], ["0", 1 << 20]);
  assertEquals(faulty.wires.length, 1);
  await delay(50);
  assertEquals(stuck.stream(1).received, 65_535);
  void stuck.send(rst(1));
  await cancelled(faulty.requests[0]!);
});

h2Fault("a client that grants a byte at a time gets its answer a byte at a time", {
  onEnd: (request) => void answer(request, new Uint8Array(20)),
}, async ({ wire }) => {
  const client = await wire({ grants: false, settings: [[Setting.InitialWindowSize, 0]] });
  void client.send(call(1));
  const stream = client.stream(1);
  for (let granted = 1; granted <= 20; granted++) {
    await delay(20);
    void client.send(windowUpdate(1, 1));
    await client.until(() => stream.received === granted, `byte ${granted}`);
  }
  assertEquals((await client.over(1)).value("grpc-status"), "0");
});

h2Fault("a client that reads nothing from its socket stops its own answers only", {
  async onEnd({ wire, id }) {
    void wire.send(headers(id, END_HEADERS, OK));
    await wire.content(id, new Uint8Array(16 << 20), true);
  },
}, async ({ wire, faulty }) => {
  const client = await wire({
    reads: false,
    settings: [[Setting.InitialWindowSize, 2 ** 31 - 1]],
  });
  void client.send(windowUpdate(0, 2 ** 31 - 1 - 65_535), call(1));
  const { wire: upstream } = await arrived(faulty, 1);
  let sent = -1;
  while (sent !== upstream.sent) {
    sent = upstream.sent;
    await delay(100);
  }
  assert(sent < 8 << 20, `${sent} bytes were taken from the backend`);
  client.read();
  assertEquals((await client.over(1)).received, 16 << 20);
});

// Clients that do not send.

h2Fault("a client that never greets is let go after the time for a head", {}, async ({ addr }) => {
  for (const begun of ["", "PRI * HTTP/2.0\r\n\r\n"]) {
    await using client = await Peer.connect(addr);
    const started = performance.now();
    await client.write(begun);
    await client.rest();
    assert(since(started) >= 2_480 && since(started) < 20_000, `it took ${since(started)} ms`);
  }
});

h2Fault("a request that stalls holds nothing up but itself", {
  onEnd: (request) => void answer(request),
}, async ({ wire, faulty }) => {
  const client = await wire();
  void client.send(concat(head(1), data(1, 10)));
  const stalled = await arrived(faulty, 1);
  assertEquals(stalled.stream.ended, false);
  for (const id of [3, 5, 7]) {
    void client.send(call(id));
    assertEquals((await client.over(id)).value("grpc-status"), "0");
  }
  void client.send(data(1, 10, 1));
  assertEquals((await client.over(1)).value("grpc-status"), "0");
});

h2Fault("a request that comes byte by byte arrives whole", {
  onEnd: (request) => void answer(request),
}, async ({ addr, faulty }) => {
  // What it sent of its own accord would come in between.
  await using client = await Wire.connect(addr, { acknowledges: false, grants: false });
  for (const byte of concat(CLIENT_PREFACE, settings(), call(1, 3))) {
    await client.send(Uint8Array.of(byte));
    await delay(1);
  }
  const { sections } = await client.over(1);
  assertEquals(sections.at(-1), [["grpc-status", "0"]], client.describe());
  assertEquals(faulty.requests[0]!.stream.text, "aaa");
});

h2Fault("a deadline that passes while the client is gone without a word ends the call", {}, async (
  { wire, faulty },
) => {
  const client = await wire({ reads: false });
  void client.send(headers(1, END, callFields(BAD, ["grpc-timeout", "200m"])));
  await cancelled(await arrived(faulty, 1));
});

// What is malformed.

for (
  const [what, code, bytes] of [
    ["text", H2Code.FrameSizeError, () => new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n")],
    ["DATA on stream 0", H2Code.ProtocolError, () => data(0, 1)],
    [
      "a field block that cannot be decoded",
      H2Code.CompressionError,
      () => frame(FrameType.Headers, END, 9, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    ],
    [
      "a frame that is too large",
      H2Code.FrameSizeError,
      () => concat([1, 0, 0], [FrameType.Data, 0], u32(1), new Uint8Array(65_536)),
    ],
    [
      "a window that is too large",
      H2Code.FlowControlError,
      () => concat(windowUpdate(0, 0x7fffffff), windowUpdate(0, 0x7fffffff)),
    ],
    ["a stream of the server's", H2Code.ProtocolError, () => headers(2, END, callFields(BAD))],
    [
      "a field block in the middle of another",
      H2Code.ProtocolError,
      () => concat(headers(9, 0, callFields(BAD)), data(1, 1)),
    ],
  ] as const
) {
  h2Fault(`${what} from a client ends its connection and cancels its calls, no others`, {}, async (
    { wire, faulty }: Scene,
  ) => {
    const client = await wire();
    void client.send(head(1));
    const request = await arrived(faulty, 1);
    void client.send(bytes());
    await cancelled(request);
    await client.until(() => client.ended, "the end of the connection");
    assertEquals(client.farewell?.code, code);
    assertEquals(faulty.requests.length, 1);
  });
}

h2Fault("a client that sends more than its window is cut and its call cancelled", {
  onHead() {},
}, async ({ wire, faulty }) => {
  const client = await wire();
  void client.send(head(1));
  const request = await arrived(faulty, 1);
  void client.send(...Array.from({ length: 80 }, () => data(1, 16_384)));
  await cancelled(request);
  await client.until(() => client.ended || client.stream(1).reset !== undefined, "the end");
  const code = client.farewell?.code ?? client.stream(1).reset;
  assertEquals(code, H2Code.FlowControlError);
}, { wire: { grants: false } });

h2Fault("who speaks TLS or SSH is closed, who speaks HTTP/1.1 is told", {}, async (
  { addr, faulty },
) => {
  for (
    const [bytes, begins] of [
      ["\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", ""],
      ["SSH-2.0-OpenSSH_9.9\r\n", ""],
      ["GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404 Not Found"],
    ] as const
  ) {
    await using client = await Peer.connect(addr);
    await client.write(bytes);
    const { text, end } = await client.rest();
    assertEquals([text.slice(0, 22), end], [begins, "eof"], JSON.stringify(bytes));
  }
  assertEquals(faulty.requests.length, 0);
});

h2Fault("messages that are cut short are the backend's to judge", {
  onEnd: ({ wire, id }) => void wire.send(headers(id, END, [...OK, ["grpc-status", "13"]])),
}, async ({ wire, faulty }) => {
  const client = await wire();
  // It announces 100 bytes and sends none.
  void client.send(head(1), frame(FrameType.Data, 1, 1, [0, 0, 0, 0, 100]));
  assertEquals((await client.over(1)).value("grpc-status"), "13");
  assertEquals(faulty.requests[0]!.stream.received, 5);
});

h2Fault("two hundred clients that come and go in the middle of calls leave nothing behind", {
  onEnd: ({ wire, id }) =>
    void wire.send(headers(id, END_HEADERS, OK), data(id, 5), headers(id, END, DONE)),
}, async ({ addr, lb }) => {
  const metrics = lb.metrics.listener(lb.name);
  const before = metrics.connectionsActive;
  for (let i = 0; i < 200; i++) {
    const client = await Peer.connect(addr);
    const bytes = concat(CLIENT_PREFACE, settings(), call(1), call(3));
    await client.write(bytes.slice(0, 20 + (bytes.length - 20) * (i / 200)));
    if (i % 2 === 0) client.reset();
    await client.close();
  }
  await until(() => metrics.connectionsActive <= before, "connections are still counted");
});
