/**
 * Backends of gRPC that misbehave, on real sockets, each with what clients are promised then. Beside each, clean calls
 * go on over the same client connection and over another one.
 */
import { assert, assertEquals } from "@std/assert";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { FrameType } from "../../lib/http/h2/frames.ts";
import { Setting } from "../../lib/http/h2/settings.ts";
import { freePort } from "../../scripts/bench/process.ts";
import { BAD, besideCleanCalls, h2Fault, rawFault } from "../support/grpc_fault.ts";
import { DONE, OK } from "../support/h2_peer.ts";
import { concat, data, frame, goaway, headers, rst, settings, u32 } from "../support/h2_raw.ts";
import { answer, callFields, WireBackend, type WireRequest } from "../support/h2_wire.ts";
import {
  COUNTS_DESCRIPTORS,
  delay,
  descriptorCount,
  descriptorsBackTo,
  Peer,
  until,
} from "../support/net.ts";

const END_HEADERS = 0x4;
const END = 0x5;
const CANCEL = H2Code.Cancel;

const UNAVAILABLE = "14";
/** How often a backend is lost and comes back. */
const TIMES = 1_000;
/** Losses of it from one to the next that is met by calls before it is back; to be found again then takes its time. */
const MISSED = 50;

/** Milliseconds that have passed since a moment of `performance.now()`. */
const since = (moment: number) => performance.now() - moment;

// Backends that never come to speak HTTP/2.

for (
  const [what, script] of [
    ["resets connections at once", (peer: Peer) => peer.reset()],
    ["closes connections at once", () => {}],
    ["reads the greeting and resets", async (peer: Peer) => {
      await peer.read(24);
      peer.reset();
    }],
    ["answers in HTTP/1.1", async (peer: Peer) => {
      await peer.read(24);
      await peer.write("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    }],
    ["sends a TLS alert", async (peer: Peer) => {
      await peer.write("\x15\x03\x03\x00\x02\x02\x46");
      await peer.rest();
    }],
    ["sends zeros", async (peer: Peer) => {
      await peer.write("\x00".repeat(100));
      await peer.rest();
    }],
    ["greets with a frame that is no SETTINGS", async (peer: Peer) => {
      await peer.write(frame(FrameType.Ping, 0, 0, new Uint8Array(8)));
      await peer.rest();
    }],
    ["greets with a frame of half a megabyte", async (peer: Peer) => {
      await peer.write(concat([8, 0, 0], [FrameType.Settings, 0], u32(0), new Uint8Array(65_536)));
      await peer.rest();
    }],
  ] as const
) {
  rawFault(`a backend that ${what} is UNAVAILABLE at once`, script, async ({ call }) => {
    const started = performance.now();
    for (let i = 0; i < 3; i++) {
      const { status, reset } = await call();
      assertEquals([status, reset], [UNAVAILABLE, undefined]);
    }
    assert(since(started) < 20_000, `it took ${since(started)} ms`);
  });
}

for (
  const [what, script] of [
    ["never greets", async (peer: Peer) => void await peer.rest()],
    ["greets one byte at a time and never ends", async (peer: Peer) => {
      for (const byte of concat(settings([Setting.MaxConcurrentStreams, 9])).slice(0, -1)) {
        await peer.write(Uint8Array.of(byte));
        await delay(60);
      }
      await peer.rest();
    }],
  ] as const
) {
  rawFault(`a backend that ${what} is UNAVAILABLE after the time for connecting`, script, async (
    { call, faulty },
  ) => {
    const started = performance.now();
    const { status, reset } = await call();
    assertEquals([status, reset], [UNAVAILABLE, undefined]);
    assert(since(started) >= 2_480 && since(started) < 20_000, `it took ${since(started)} ms`);
    for (const peer of faulty.peers) await peer.close();
  });
}

for (
  const [what, script] of [
    ["speaks no TLS", async (peer: Peer) => {
      await peer.read(5);
      await peer.write("HTTP/1.1 400 Bad Request\r\n\r\n");
    }],
    ["closes inside the TLS handshake", async (peer: Peer) => void await peer.read(5)],
    ["is silent in the TLS handshake", async (peer: Peer) => void await peer.rest()],
  ] as const
) {
  rawFault(`a backend of grpcs that ${what} is UNAVAILABLE`, script, async ({ call }) => {
    const { status, reset } = await call();
    assertEquals([status, reset], [UNAVAILABLE, undefined]);
  }, { scheme: "grpcs://" });
}

Deno.test("a gRPC backend that refuses is passed over, and UNAVAILABLE is said when all do", async () => {
  const dead = `127.0.0.1:${freePort()}`;
  await using alive = WireBackend.listen({ onEnd: (request) => void answer(request) });
  await besideCleanCalls([dead, alive.addr], async ({ call }) => {
    for (let i = 0; i < 6; i++) assertEquals((await call()).status, "0");
  });
  await besideCleanCalls([dead], async ({ call }) => {
    for (let i = 0; i < 3; i++) assertEquals((await call()).status, UNAVAILABLE);
  });
});

Deno.test("a gRPC backend that takes no connection in time is passed over", async () => {
  const before = descriptorCount();
  {
    // A queue of one that nobody empties: when it is full the system drops what else comes.
    const full = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 1 });
    const { port } = full.addr;
    const filling = [await Peer.connect(port), await Peer.connect(port)];
    await using alive = WireBackend.listen({ onEnd: (request) => void answer(request) });
    await besideCleanCalls([`127.0.0.1:${port}`, alive.addr], async ({ call }) => {
      for (let i = 0; i < 2; i++) assertEquals((await call()).status, "0");
    });
    full.close();
    for (const peer of filling) await peer.close();
  }
  await descriptorsBackTo(before);
});

// Streams that are reset.

for (const [name, code] of Object.entries(H2Code)) {
  if (code === H2Code.RefusedStream) continue;
  h2Fault(`RST_STREAM with ${name} instead of an answer reaches the client as it is, once`, {
    onEnd: ({ wire, id }) => void wire.send(rst(id, code)),
  }, async ({ call, faulty }) => {
    const { reset, heads } = await call();
    assertEquals([reset, heads], [code, 0]);
    assertEquals(faulty.requests.length, 1, "what a backend may have acted on is sent once");
  });
}

h2Fault("RST_STREAM inside an answer cuts it for the client too", {
  onEnd: ({ wire, id }) => void wire.send(headers(id, END_HEADERS, OK), data(id, 5), rst(id, 2)),
}, async ({ call, faulty }) => {
  const { reset, status, text } = await call();
  assertEquals([reset, status, text], [H2Code.InternalError, undefined, "aaaaa"]);
  assertEquals(faulty.requests.length, 1);
});

h2Fault("a stream that is refused once is tried again on the same backend when it is alone", {
  onEnd(request) {
    if (request.id === 1) void request.wire.send(rst(1, H2Code.RefusedStream));
    else void answer(request);
  },
}, async ({ call, faulty }) => {
  const { status, text } = await call();
  // With no other backend there is nobody to try; the call may be repeated by the client.
  if (status === "0") assertEquals([text, faulty.requests.length], ["hello", 2]);
  else assertEquals([status, faulty.requests.length], [UNAVAILABLE, 1]);
});

Deno.test("streams that a backend refuses are answered by another, each once", async () => {
  await using refusing = WireBackend.listen({
    onHead: ({ wire, id }) => void wire.send(rst(id, H2Code.RefusedStream)),
  });
  await using alive = WireBackend.listen({ onEnd: (request) => void answer(request) });
  await besideCleanCalls([refusing.addr, alive.addr], async ({ call }) => {
    for (let i = 0; i < 10; i++) {
      const { status, text } = await call({ content: `${i}` });
      assertEquals([status, text], ["0", "hello"]);
    }
    assertEquals(
      alive.requests.map(({ stream }) => stream.text),
      Array.from({ length: 10 }, (_, i) => `${i}`),
    );
  });
  assert(refusing.requests.length > 0);
});

// GOAWAY at every stage.

h2Fault("GOAWAY on an idle connection costs nobody a call", {
  async onEnd(request) {
    await answer(request);
    void request.wire.send(goaway(request.id));
    await request.wire.end();
  },
}, async ({ call, faulty }) => {
  for (let i = 0; i < 5; i++) {
    assertEquals((await call()).status, "0");
    // Half of them meet the connection while it goes, half after it has gone.
    if (i % 2 === 0) await delay(20);
  }
  assertEquals(faulty.requests.length, 5);
});

h2Fault("GOAWAY in the same breath as the greeting is answered by another connection", {
  onConnection(wire, connection) {
    if (connection === 0) void wire.send(goaway(0));
  },
  onEnd: (request) => void answer(request),
}, async ({ call, faulty }) => {
  assertEquals((await call()).status, "0");
  assertEquals(faulty.wires.length, 2);
});

h2Fault("GOAWAY in the same breath as every greeting is UNAVAILABLE", {
  onConnection: (wire) => void wire.send(goaway(0)),
}, async ({ call, faulty }) => {
  assertEquals((await call()).status, UNAVAILABLE);
  assert(faulty.wires.length <= 8, `${faulty.wires.length} connections for one call`);
});

h2Fault("streams above the last one of GOAWAY are sent again, those below it finish", {
  onEnd(request) {
    const { wire, id, connection } = request;
    if (connection > 0) return void answer(request);
    if (id < 9) return;
    void wire.send(goaway(5));
    for (const below of [1, 3, 5]) void answer({ ...request, id: below });
  },
}, async ({ begin, faulty }) => {
  const calls = Array.from({ length: 5 }, (_, i) => begin({ content: `${i}` }));
  for (const call of calls) assertEquals((await call.done).value("grpc-status"), "0");
  assertEquals(faulty.requests.filter(({ connection }) => connection === 0).length, 5);
  const again = faulty.requests.filter(({ connection }) => connection > 0);
  assertEquals(again.map(({ stream }) => stream.text).sort(), ["3", "4"]);
});

for (const code of [H2Code.NoError, H2Code.EnhanceYourCalm, H2Code.InternalError]) {
  h2Fault(`an answer that is under way at GOAWAY with code ${code} comes to its end`, {
    async onEnd({ wire, id }) {
      void wire.send(headers(id, END_HEADERS, OK), data(id, 3), goaway(id, code));
      await delay(50);
      void wire.send(data(id, 3), headers(id, END, DONE));
    },
  }, async ({ call, faulty }) => {
    const { status, text } = await call();
    assertEquals([status, text, faulty.requests.length], ["0", "aaaaaa", 1]);
  });
}

h2Fault("calls that are lost behind GOAWAY are UNAVAILABLE and sent once", {
  async onEnd({ wire, id }) {
    void wire.send(goaway(id));
    await wire.close();
  },
}, async ({ call, faulty }) => {
  const { status, reset } = await call();
  assertEquals([status, reset, faulty.requests.length], [UNAVAILABLE, undefined, 1]);
});

// Connections that are lost.

h2Fault("a connection that is lost with a hundred calls under way fails each of them once", {
  onEnd(request) {
    const { wire, connection } = request;
    if (connection > 0) void answer(request);
    else if (wire.streams.size === 100) void wire.close();
  },
}, async ({ begin, call, faulty }) => {
  const calls = Array.from({ length: 100 }, () => begin());
  for (const one of calls) {
    await one.done;
    assertEquals([one.value("grpc-status"), one.reset], [UNAVAILABLE, undefined]);
  }
  assertEquals(faulty.requests.length, 100, "what may have been acted on is not sent again");
  assertEquals((await call()).status, "0");
}, { wire: { settings: [[Setting.MaxConcurrentStreams, 1000]] } });

for (const [what, begun] of [["its head", 0], ["some of its content", 5]] as const) {
  h2Fault(`an answer that is lost behind ${what} ends with UNAVAILABLE in the trailers`, {
    async onEnd({ wire, id }) {
      await wire.send(headers(id, END_HEADERS, OK), ...begun > 0 ? [data(id, begun)] : []);
      await delay(20);
      await wire.close();
    },
  }, async ({ call, faulty }) => {
    const { status, text, heads } = await call();
    assertEquals([status, text.length, heads], [UNAVAILABLE, begun, 1]);
    assertEquals(faulty.requests.length, 1);
  });
}

h2Fault("a backend that ends its half with a call open loses the call, not the next", {
  onEnd(request) {
    if (request.connection === 0) void request.wire.end();
    else void answer(request);
  },
}, async ({ call }) => {
  assertEquals((await call()).status, UNAVAILABLE);
  assertEquals((await call()).status, "0");
});

// What is malformed.

for (
  const [what, code, bytes] of [
    ["DATA on stream 0", H2Code.ProtocolError, () => data(0, 1)],
    [
      "a frame of stream 0 on a stream",
      H2Code.ProtocolError,
      (id: number) => frame(FrameType.Settings, 0, id),
    ],
    ["PUSH_PROMISE", H2Code.ProtocolError, (id: number) => frame(5, END_HEADERS, id, u32(2))],
    [
      "HEADERS on a stream that nobody opened",
      H2Code.ProtocolError,
      (id: number) => headers(id + 200, END, OK),
    ],
    [
      "a field block that cannot be decoded",
      H2Code.CompressionError,
      (id: number) => frame(FrameType.Headers, END, id, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    ],
    [
      "a frame that is too large",
      H2Code.FrameSizeError,
      (id: number) => concat([1, 0, 0], [FrameType.Data, 0], u32(id), new Uint8Array(65_536)),
    ],
    ["a window that is too large", H2Code.FlowControlError, () =>
      concat(
        frame(FrameType.WindowUpdate, 0, 0, u32(0x7fffffff)),
        frame(FrameType.WindowUpdate, 0, 0, u32(0x7fffffff)),
      )],
    ["text", H2Code.FrameSizeError, () => new TextEncoder().encode("HTTP/1.1 200 OK\r\n\r\n")],
    [
      "CONTINUATION without HEADERS",
      H2Code.ProtocolError,
      (id: number) => frame(FrameType.Continuation, END_HEADERS, id),
    ],
  ] as const
) {
  h2Fault(`${what} from a backend ends its connection and the calls on it, no others`, {
    onEnd(request) {
      const { wire, id, connection } = request;
      if (connection > 0) void answer(request);
      else if (id === 3) void wire.send(bytes(id));
    },
  }, async ({ begin, call, faulty }) => {
    const calls = [begin(), begin()];
    for (const one of calls) {
      await one.done;
      assertEquals([one.value("grpc-status"), one.reset], [UNAVAILABLE, undefined]);
    }
    const [wire] = faulty.wires;
    await wire!.until(() => wire!.ended, "the end of the connection");
    assertEquals(wire!.farewell?.code, code);
    assertEquals((await call()).status, "0");
  });
}

for (
  const [what, bytes] of [
    [
      "a head without :status",
      (id: number) => headers(id, END_HEADERS, [["content-type", "application/grpc"]]),
    ],
    [
      "a head with a status that is none",
      (id: number) => headers(id, END_HEADERS, [[":status", "20"]]),
    ],
    [
      "a head with Connection",
      (id: number) => headers(id, END_HEADERS, [...OK, ["connection", "close"]]),
    ],
    [
      "a head with an upper-case name",
      (id: number) => headers(id, END_HEADERS, [...OK, ["X-Bad", "1"]]),
    ],
    ["content before the head", (id: number) => data(id, 3)],
    ["switching protocols", (id: number) => headers(id, END_HEADERS, [[":status", "101"]])],
    [
      "a second head that is no trailers",
      (id: number) => concat(headers(id, END_HEADERS, OK), headers(id, END_HEADERS, OK)),
    ],
    [
      "less content than it announced",
      (id: number) =>
        concat(headers(id, END_HEADERS, [...OK, ["content-length", "9"]]), data(id, 3, 1)),
    ],
  ] as const
) {
  h2Fault(`${what} from a backend fails that call and no other of its connection`, {
    async onEnd(request) {
      if (request.stream.text === "good") {
        await delay(50);
        void answer(request);
      } else void request.wire.send(bytes(request.id));
    },
  }, async ({ begin, call, faulty }) => {
    const good = begin({ content: "good" });
    const { status, reset } = await call();
    assert(
      reset !== undefined || status === "13" || status === UNAVAILABLE,
      `status ${status}, reset ${reset}`,
    );
    assertEquals((await good.done).value("grpc-status"), "0");
    assertEquals(faulty.wires.length, 1, "the connection goes on");
    const [wire] = faulty.wires;
    const bad = faulty.requests.find(({ stream }) => stream.text === "ask")!;
    await wire!.until(() => bad.stream.reset !== undefined, "the end of the stream");
  });
}

// What is slow, or never comes.

h2Fault(
  "a backend that never answers is given up when the deadline of the call has passed",
  {},
  async (
    { call, faulty },
  ) => {
    const started = performance.now();
    const { status } = await call({ fields: [["grpc-timeout", "300m"]] });
    assertEquals(status, "4");
    assert(since(started) >= 290 && since(started) < 20_000, `it took ${since(started)} ms`);
    const [{ stream, wire }] = faulty.requests as [WireRequest];
    await wire.until(() => stream.reset !== undefined, "the reset");
    assertEquals(stream.reset, CANCEL);
  },
);

h2Fault("an answer that stalls is ended with DEADLINE_EXCEEDED behind what has come", {
  onEnd: ({ wire, id }) => void wire.send(headers(id, END_HEADERS, OK), data(id, 5)),
}, async ({ call }) => {
  const { status, text } = await call({ fields: [["grpc-timeout", "300m"]] });
  assertEquals([status, text], ["4", "aaaaa"]);
});

h2Fault("an answer that comes byte by byte is passed on as it comes", {
  async onEnd({ wire, id }) {
    void wire.send(headers(id, END_HEADERS, OK));
    for (let i = 0; i < 10; i++) {
      await delay(60);
      void wire.send(data(id, 1));
    }
    void wire.send(headers(id, END, DONE));
  },
}, async ({ begin }) => {
  const moments: number[] = [];
  const call = begin();
  call.onEvent = () => moments.push(call.received);
  await call.done;
  assertEquals([call.value("grpc-status"), call.text], ["0", "a".repeat(10)]);
  assert(new Set(moments).size >= 8, `content came in ${new Set(moments).size} pieces`);
});

h2Fault("frames that come byte by byte are put together", {
  async onEnd({ wire, id }) {
    for (const byte of concat(headers(id, END_HEADERS, OK), data(id, 5), headers(id, END, DONE))) {
      await wire.send(Uint8Array.of(byte));
      await delay(2);
    }
  },
}, async ({ call }) => {
  assertEquals((await call()).text, "aaaaa");
});

h2Fault(
  "a backend that grants no window stops the sender of that call and nobody else",
  {
    onEnd: (request) => void answer(request),
  },
  async ({ begin, call, faulty }) => {
    const size = 1 << 20;
    const stalled = begin({ content: new Uint8Array(size) });
    for (let i = 0; i < 5; i++) assertEquals((await call({ content: "" })).status, "0");
    const first = faulty.requests.find(({ id }) => id === 1)!;
    assert(first.stream.received <= 65_535, `${first.stream.received} bytes were sent`);
    stalled.stream.reset(CANCEL);
    await first.wire.until(() => first.stream.reset !== undefined, "the reset");
    assertEquals(first.stream.reset, CANCEL);
  },
  { wire: { grants: false } },
);

h2Fault(
  "a backend that takes no streams at all is UNAVAILABLE after the time for waiting",
  {},
  async ({ call }) => {
    const started = performance.now();
    assertEquals((await call()).status, UNAVAILABLE);
    assert(since(started) >= 2_480 && since(started) < 20_000, `it took ${since(started)} ms`);
  },
  { wire: { settings: [[Setting.MaxConcurrentStreams, 0]] } },
);

// What a backend may do, though few do.

h2Fault("an early answer is passed on, and the client is asked to stop sending", {
  onHead: ({ wire, id }) =>
    void wire.send(headers(id, END, [...OK, ["grpc-status", "8"]]), rst(id, H2Code.NoError)),
}, async ({ wire }) => {
  const client = await wire();
  void client.send(headers(1, END_HEADERS, callFields(BAD)), data(1, 1000));
  const stream = await client.over(1);
  assertEquals(stream.value("grpc-status"), "8");
  await client.until(() => stream.reset !== undefined, "the request to stop");
  assertEquals(stream.reset, H2Code.NoError);
});

h2Fault("an answer without trailers ends as it came", {
  onEnd: ({ wire, id }) => void wire.send(headers(id, END_HEADERS, OK), data(id, 5, 1)),
}, async ({ call }) => {
  assertEquals(await call(), {
    status: undefined,
    message: undefined,
    reset: undefined,
    text: "aaaaa",
    heads: 1,
  });
});

h2Fault("an answer of another protocol is passed on as it is", {
  onEnd: ({ wire, id }) =>
    void wire.send(
      headers(id, END_HEADERS, [[":status", "503"], ["content-type", "text/plain"]]),
      data(id, 4, 1),
    ),
}, async ({ begin }) => {
  const call = await begin().done;
  assertEquals([call.value(":status"), call.text], ["503", "aaaa"]);
});

h2Fault("a backend that never acknowledges anything serves all the same", {
  onEnd: (request) => void answer(request),
}, async ({ call }) => {
  for (let i = 0; i < 3; i++) assertEquals((await call()).status, "0");
}, { wire: { acknowledges: false } });

Deno.test({
  name: "a gRPC backend that is lost and back 1,000 times costs only the calls on it",
  ignore: !COUNTS_DESCRIPTORS,
  async fn() {
    const before = descriptorCount();
    {
      const port = freePort();
      const listen = () => WireBackend.listen({ onEnd: (one) => void answer(one) }, {}, port);
      let faulty = listen();
      await using alive = WireBackend.listen({ onEnd: (request) => void answer(request) });
      const counts = { underway: 0, lost: 0, served: 0 };
      await besideCleanCalls([`127.0.0.1:${port}`, alive.addr], async ({ begin, lb }) => {
        const live = () => lb.backends().find(({ addr }) => addr.endsWith(`:${port}`))!;
        const connections = () => live().connections.idle + live().connections.active;
        for (let round = 0; round < TIMES; round++) {
          const open = [begin(), begin(), begin()];
          await open[round % 3]!.done;
          await faulty[Symbol.asyncDispose]();
          counts.served += faulty.requests.length;
          for (const call of open) {
            const status = (await call.done).value("grpc-status");
            counts.underway++;
            if (status === "0") continue;
            counts.lost++;
            assertEquals(status, UNAVAILABLE);
          }
          await until(() => connections() === 0, "the loss is noticed");
          const missed = round % MISSED === 0;
          // Nothing can be lost of what begins now: it is refused, and goes to the other one.
          for (const call of missed ? [begin(), begin()] : []) {
            assertEquals((await call.done).value("grpc-status"), "0");
          }
          assertEquals(live().health.state, missed ? "unreachable" : "healthy");
          faulty = listen();
          if (missed) await until(() => live().health.state === "healthy", "it is found again");
        }
      }, { options: { outlierDetection: false } });
      await faulty[Symbol.asyncDispose]();
      assert(counts.served > TIMES / 2, JSON.stringify(counts));
      assert(counts.lost < counts.underway / 2, JSON.stringify(counts));
    }
    await descriptorsBackTo(before);
  },
});
