/**
 * What must not be carried from HTTP/2 into HTTP/1.1: RFC 9113, sections 8 and 10.3. Each row says what becomes of
 * a request: `malformed` is a stream error, a number is an answer; a backend sees nothing of either.
 */
import { assert, assertEquals } from "@std/assert";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { encodeBlock, type Fields } from "../support/h2_peer.ts";
import {
  type AskOptions,
  codeOf,
  GET,
  head,
  settleAll,
  testH2OverL7,
} from "../support/h2_over_l7.ts";

interface Row {
  readonly id: string;
  readonly what: string;
  readonly fields: Fields;
  readonly verdict: "malformed" | number;
  readonly options?: AskOptions;
}

function without(name: string): Fields {
  return GET.filter(([other]) => other !== name);
}

const ROWS: readonly Row[] = [
  ...["a\rb", "a\nb", "a\0b", "a\r\nx: y"].map((value): Row => ({
    id: "D1",
    what: `a value with ${JSON.stringify(value)}`,
    fields: head(["x", value]),
    verdict: "malformed",
  })),
  ...["x\r\ny", "x y", "x:", "X-Upper", "x\0", "x\xe9"].map((name): Row => ({
    id: "D2",
    what: `the name ${JSON.stringify(name)}`,
    fields: head([name, "v"]),
    verdict: "malformed",
  })),
  ...[" v", "v ", "\tv"].map((value): Row => ({
    id: "D3",
    what: `the value ${JSON.stringify(value)}`,
    fields: head(["x", value]),
    verdict: "malformed",
  })),
  { id: "D4", what: "an empty name", fields: head(["", "v"]), verdict: "malformed" },
  {
    id: "D5",
    what: ":path with a space and a version",
    fields: head([":path", "/ HTTP/1.1"]),
    verdict: "malformed",
  },
  {
    id: "D6",
    what: ":path with CRLF and a field",
    fields: head([":path", "/ HTTP/1.1\r\nHost: evil"]),
    verdict: "malformed",
  },
  {
    id: "D7",
    what: ":method that is a request line",
    fields: head([":method", "GET /evil HTTP/1.1\r\nHost: evil\r\n\r\nGET"]),
    verdict: "malformed",
  },
  {
    id: "D7",
    what: ":scheme that is a URI",
    fields: head([":scheme", "http://evil/?"]),
    verdict: "malformed",
  },
  { id: "D8", what: "another host", fields: head(["host", "other"]), verdict: 400 },
  {
    id: "D9",
    what: "two hosts",
    fields: [...without(":authority"), ["host", "a"], ["host", "a"]],
    verdict: 400,
  },
  { id: "D9", what: "neither authority nor host", fields: without(":authority"), verdict: 400 },
  { id: "D10", what: "user information", fields: head([":authority", "u@test"]), verdict: 400 },
  ...["transfer-encoding", "connection", "upgrade", "keep-alive", "proxy-connection"].map(
    (name): Row => ({
      id: "D11",
      what: name,
      fields: head([name, name === "transfer-encoding" ? "chunked" : "close"]),
      verdict: "malformed",
    }),
  ),
  { id: "D12", what: "te: gzip", fields: head(["te", "gzip"]), verdict: "malformed" },
  {
    id: "D13",
    what: "a length without a body",
    fields: head([":method", "POST"], ["content-length", "5"]),
    verdict: "malformed",
  },
  ...["+5", "5 ", "0x5", "5,5", "", "-1", "18446744073709551619x"].map((length): Row => ({
    id: "D14",
    what: `the length ${JSON.stringify(length)}`,
    fields: head([":method", "POST"], ["content-length", length]),
    verdict: "malformed",
    options: { content: "hello" },
  })),
  {
    id: "D14",
    what: "two lengths",
    fields: head([":method", "POST"], ["content-length", "5"], ["content-length", "5"]),
    verdict: "malformed",
    options: { content: "hello" },
  },
  {
    id: "D14",
    what: "a length above what can be counted",
    fields: head([":method", "POST"], ["content-length", "18446744073709551621"]),
    verdict: 413,
    options: { content: "hello" },
  },
  ...[":method", ":path", ":scheme"].map((name): Row => ({
    id: "D15",
    what: `no ${name}`,
    fields: without(name),
    verdict: "malformed",
  })),
  ...GET.map((field): Row => ({
    id: "D15",
    what: `${field[0]} twice`,
    fields: [field, ...GET],
    verdict: "malformed",
  })),
  ...([[":status", "200"], [":protocol", "websocket"], [":x", "y"]] as const).map((field): Row => ({
    id: "D15",
    what: `${field[0]} in a request`,
    fields: [field, ...GET],
    verdict: "malformed",
  })),
  {
    id: "D15",
    what: "a pseudo-field behind a field",
    fields: [...without(":path"), ["x", "y"], [":path", "/"]],
    verdict: "malformed",
  },
  { id: "D15", what: "an empty :path", fields: head([":path", ""]), verdict: "malformed" },
  { id: "D16", what: ":path without a slash", fields: head([":path", "foo"]), verdict: 400 },
  { id: "D16", what: ":path that is a URI", fields: head([":path", "http://x/"]), verdict: 400 },
  { id: "D16", what: ":path with a fragment", fields: head([":path", "/a#b"]), verdict: 400 },
  { id: "D16", what: "* with GET", fields: head([":path", "*"]), verdict: 400 },
  { id: "D17", what: "CONNECT", fields: head([":method", "CONNECT"]), verdict: 405 },
  {
    id: "D17",
    what: "CONNECT as section 8.5 has it",
    fields: [[":method", "CONNECT"], [":authority", "evil:25"]],
    verdict: 405,
  },
  { id: "D17", what: "TRACE", fields: head([":method", "TRACE"]), verdict: 405 },
];

for (const { id, what, fields, verdict, options } of ROWS) {
  testH2OverL7(`${id}: ${what} is ${verdict}, and no backend sees it`, {}, async (lb, front) => {
    const asked = await front.get(fields, options);
    if (verdict === "malformed") {
      assertEquals([asked.reset?.code, asked.heads], [H2Code.ProtocolError, []]);
    } else {
      assertEquals(asked.value(":status"), String(verdict));
      assert(codeOf(asked) !== "");
    }
    await settleAll();
    assertEquals(lb.at().dials, 0);
    // It is of one stream only: the connection goes on.
    lb.at().serve(() => "HTTP/1.1 204 No Content\r\n\r\n");
    assertEquals((await front.get()).value(":status"), "204");
  });
}

testH2OverL7(
  "D12: te: trailers is passed on as a field of the connection",
  {},
  async (lb, front) => {
    const asked = front.ask(head(["te", "trailers"]));
    const backend = await lb.accept();
    const request = await backend.answer("HTTP/1.1 204 No Content\r\n\r\n");
    assertEquals([request.get("te"), request.get("connection")], ["trailers", "TE"]);
    await front.end(asked);
  },
);

for (
  const [what, length, first, rest] of [
    ["more than its length in one frame", "1", "hello", undefined],
    ["more than its length in a later frame", "4", "hell", "o"],
    ["less than its length", "6", "hello", ""],
  ] as const
) {
  testH2OverL7(`D14: content of ${what} aborts at the backend`, {}, async (lb, front) => {
    const asked = front.ask(head([":method", "POST"], ["content-length", length]), {
      content: first,
      open: true,
    });
    if (rest !== undefined) {
      const backend = await lb.accept();
      const request = (await backend.head())!;
      assertEquals(request.get("content-length"), length);
      assertEquals(await backend.read(first.length), first);
      front.client.send(asked, rest, true);
      assertEquals(await backend.rest(), "", "not a byte more");
      assert(backend.closedByProxy);
    }
    await front.end(asked);
    assertEquals([asked.reset?.code, asked.heads], [H2Code.ProtocolError, []]);
    for (const connection of lb.at().connections) assertEquals(await connection.rest(), "");
  });
}

for (
  const [what, fields, endStream] of [
    ["a pseudo-field in trailers", [[":path", "/evil"]], true],
    ["Content-Length in trailers", [["content-length", "0"]], true],
    ["Host in trailers", [["host", "evil"]], true],
    ["Transfer-Encoding in trailers", [["transfer-encoding", "chunked"]], true],
    ["D18: a second head that does not end the stream", [["x", "y"]], false],
  ] as const
) {
  testH2OverL7(`${what}: malformed, and the backend's request ends without an end`, {}, async (
    lb,
    front,
  ) => {
    const asked = front.ask(head([":method", "POST"]), { content: "hello", open: true });
    const backend = await lb.accept();
    await backend.head();
    assertEquals(await backend.read(10), "5\r\nhello\r\n");
    asked.stream.sendHeaders(encodeBlock(fields), endStream);
    assertEquals(await backend.rest(), "", "neither a last chunk nor a trailer");
    await front.end(asked);
    assertEquals([asked.reset?.code, asked.heads], [H2Code.ProtocolError, []]);
  });
}

testH2OverL7("D19: crumbs of cookies are one field, joined by a semicolon and a space", {}, async (
  lb,
  front,
) => {
  const asked = front.ask(
    head(["cookie", "a=1"], ["x", "y"], ["cookie", "b=2; c=3"], ["cookie", "d"]),
  );
  const backend = await lb.accept();
  const request = await backend.answer("HTTP/1.1 204 No Content\r\n\r\n");
  assertEquals(request.all("cookie"), ["a=1; b=2; c=3; d"]);
  assertEquals(request.get("x"), "y");
  await front.end(asked);
});

testH2OverL7("D19: each crumb counts against the limit of fields", {}, async (lb, front) => {
  const crumbs = Array.from({ length: 100 }, () => ["cookie", "a=1"] as const);
  const asked = await front.get(head(...crumbs));
  assertEquals(asked.value(":status"), "431");
  assertEquals(codeOf(asked), "head_too_large");
  assertEquals(lb.at().dials, 0);
});

testH2OverL7("an escaped line end in :path stays escaped", {}, async (lb, front) => {
  const asked = front.ask(head([":path", "/%0d%0aX:1?a=%20b"]));
  const request = await (await lb.accept()).answer("HTTP/1.1 204 No Content\r\n\r\n");
  assertEquals(request.start, "GET /%0d%0aX:1?a=%20b HTTP/1.1");
  await front.end(asked);
});

testH2OverL7(
  "a field that looks like one of ours to gateways is dropped",
  {},
  async (lb, front) => {
    const asked = front.ask(
      head(["x_forwarded_for", "10.0.0.1"], ["transfer_encoding", "chunked"]),
    );
    const request = await (await lb.accept()).answer("HTTP/1.1 204 No Content\r\n\r\n");
    const names = request.fields.map(([name]) => name.toLowerCase());
    assertEquals(names.filter((name) => name.includes("_")), []);
    assertEquals(request.get("x-forwarded-for"), "192.0.2.1");
    await front.end(asked);
  },
);
