import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { latin1 } from "../../lib/http/h1/chars.ts";
import { ChunkedDecoder } from "../../lib/http/h1/chunked.ts";
import { REFUSED } from "../../lib/http/h1/fields.ts";
import { DEFAULT_HEAD_LIMITS } from "../../lib/http/h1/limits.ts";
import { RequestHead } from "../../lib/http/h1/request.ts";
import { ResponseHead } from "../../lib/http/h1/response.ts";
import { Decoder } from "../../lib/http/h2/hpack/decoder.ts";
import { FieldList } from "../../lib/http/h2/hpack/field_list.ts";
import { checkTrailers } from "../../lib/http/h2/headers.ts";
import { H2RequestHead } from "../../lib/http/h2/request_head.ts";
import { H2ResponseHead } from "../../lib/http/h2/response_head.ts";
import {
  encodeBodyEnd,
  encodeH1Request,
  encodeH2Response,
  encodeH2Trailers,
} from "../../lib/http/l7/h2_translate.ts";
import { encodeBlock, type Fields, readFields } from "../support/h2_peer.ts";
import { textOf } from "../support/http_text.ts";

const RUNS = { seed: 20_260_113, numRuns: 3000 };

function decode(list: FieldList, fields: Fields): void {
  const block = encodeBlock(fields);
  list.reset();
  assert(list.append(block, 0, block.length));
  assertEquals(new Decoder().decode(list), "ok");
}

/** The fields of a request as HTTP/1.1 writes them; `undefined` when they must not be forwarded. */
function translate(fields: Fields, endStream = true): Uint8Array | undefined {
  const head = new H2RequestHead();
  decode(head.fields, fields);
  return head.interpret(endStream) === "ok" ? encodeH1Request(head, endStream) : undefined;
}

const HEAD: Fields = [
  [":method", "GET"],
  [":scheme", "https"],
  [":path", "/a?b=c"],
  [":authority", "test:81"],
];

Deno.test("the head of a request is written in the form of HTTP/1.1", () => {
  const fields: Fields = [...HEAD, ["x", "1"], ["cookie", "a"], ["y", ""], ["cookie", "b"]];
  const lines = "GET /a?b=c HTTP/1.1\r\nhost: test:81\r\nx: 1\r\ny: \r\ncookie: a; b\r\n";
  assertEquals(textOf(translate(fields)!), `${lines}\r\n`);
  assertEquals(textOf(translate(fields, false)!), `${lines}transfer-encoding: chunked\r\n\r\n`);
  assertEquals(
    textOf(translate([...HEAD, ["content-length", "007"]], false)!),
    "GET /a?b=c HTTP/1.1\r\nhost: test:81\r\ncontent-length: 7\r\n\r\n",
  );
});

Deno.test("trailers stand behind the last chunk", () => {
  const list = new FieldList();
  decode(list, [["a", "1"], ["b", "\xe9"]]);
  assertEquals(textOf(encodeBodyEnd(list)), "0\r\na: 1\r\nb: \xe9\r\n\r\n");
});

Deno.test("the head of a response is a block without fields of the connection", () => {
  const text = "HTTP/1.1 418 I'm\r\nX-A: 1\r\nConnection: close\r\nKeep-Alive: timeout=1\r\n" +
    "Proxy-Connection: x\r\nUpgrade: y\r\nTE: z\r\nTransfer-Encoding: chunked\r\nx-b: \xe9\r\n\r\n";
  const response = new ResponseHead();
  const bytes = latin1(text);
  assertEquals(response.parse(bytes, 0, bytes.length, false), bytes.length);
  const head = new H2ResponseHead();
  const block = encodeH2Response(response);
  head.fields.reset();
  assert(head.fields.append(block, 0, block.length));
  new Decoder().decode(head.fields);
  assertEquals(head.interpret(false, false), "ok");
  assertEquals(readFields(head.fields), [[":status", "418"], ["x-a", "1"], ["x-b", "\xe9"]]);
});

Deno.test("trailer lines become a block, malformed ones do not", () => {
  const read = (text: string) => {
    const block = encodeH2Trailers(latin1(text), DEFAULT_HEAD_LIMITS);
    if (block === undefined) return undefined;
    const list = new FieldList();
    list.append(block, 0, block.length);
    new Decoder().decode(list);
    return readFields(list);
  };
  assertEquals(read("X-T: 1\r\nY:2\r\nConnection: x\r\n"), [["x-t", "1"], ["y", "2"]]);
  assertEquals(read("X T: 1\r\n"), undefined);
  assertEquals(read("X-T: 1\n"), undefined);
});

/** Texts of bytes, of which some would be something else in HTTP/1.1. */
const nasty = fc.array(
  fc.oneof(
    fc.constantFrom(
      "\r\n",
      "\r",
      "\n",
      "\0",
      " ",
      ":",
      ";",
      "a",
      "B",
      "/",
      "?",
      "#",
      "*",
      "%0d",
      ",",
    ),
    fc.constantFrom(
      "transfer-encoding",
      "chunked",
      "content-length",
      "host",
      " HTTP/1.1\r\n",
      "GET ",
    ),
    fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
  ),
  { maxLength: 6 },
).map((parts) => parts.join(""));
/** Mostly what is well-formed, so that much of it comes through. */
function mostly(good: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.oneof({ weight: 8, arbitrary: good }, { weight: 1, arbitrary: nasty });
}
const names = mostly(
  fc.oneof(
    fc.constantFrom("x", "cookie", "x_y", "expect"),
    fc.stringMatching(/^[a-z-]{1,12}$/),
  ),
);
const values = mostly(fc.stringMatching(/^[!-~]{0,12}$/));
const requests = fc.record({
  method: mostly(fc.constantFrom("GET", "POST", "OPTIONS")),
  scheme: mostly(fc.constantFrom("http", "https")),
  path: mostly(fc.oneof(fc.constantFrom("/", "/a/b?c"), nasty.map((text) => `/${text}`))),
  authority: mostly(fc.constantFrom("a", "a:80", "[::1]:80")),
  fields: fc.array(
    fc.oneof(
      { weight: 8, arbitrary: fc.tuple(names, values) },
      {
        weight: 1,
        arbitrary: fc.constantFrom<[string, string]>(
          ["te", "trailers"],
          ["content-length", "5"],
          ["host", "a"],
          ["transfer-encoding", "chunked"],
        ),
      },
    ),
    { maxLength: 6 },
  ),
  endStream: fc.boolean(),
});

Deno.test("whatever comes over HTTP/2 is at most one request of HTTP/1.1, and the same one", () => {
  let forwarded = 0;
  fc.assert(
    fc.property(requests, ({ method, scheme, path, authority, fields, endStream }) => {
      const bytes = translate([
        [":method", method],
        [":scheme", scheme],
        [":path", path],
        [":authority", authority],
        ...fields,
      ], endStream);
      if (bytes === undefined) return;
      const head = new RequestHead();
      const end = head.parse(bytes, 0, bytes.length);
      // What HTTP/1.1 has more rules for (Expect) may be refused; it is never half of what came.
      if (end === REFUSED) {
        assertEquals(head.error, "bad_expect");
        return;
      }
      forwarded++;
      assertEquals(end, bytes.length, "the head ends where the bytes end");
      assertEquals([head.method, head.target, head.authority], [method, path, authority]);
      assertEquals(head.minor, 1);
      const length = fields.find(([name]) => name === "content-length")?.[1];
      assertEquals(
        head.framing,
        length !== undefined
          ? { type: "length", length: Number(length) }
          : { type: endStream ? "none" : "chunked" } as typeof head.framing,
      );
      const sent = fields.filter(([name]) => !["cookie", "host", "content-length"].includes(name));
      const seen = Array.from(
        { length: head.fields.count },
        (_, i) => [head.fields.name(i), head.fields.value(i)],
      );
      const own = ["host", "cookie", "content-length", "transfer-encoding"];
      assertEquals(seen.filter(([name]) => !own.includes(name!)), sent);
      assertEquals(head.upgrade, false);
    }),
    RUNS,
  );
  assert(forwarded > RUNS.numRuns / 10, `${forwarded} were forwarded`);
});

Deno.test("whatever trailers come are at most trailers of HTTP/1.1, and the same", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(names, values), { maxLength: 5 }), (fields) => {
      const list = new FieldList();
      decode(list, fields);
      if (checkTrailers(list) !== undefined) return;
      const bytes = encodeBodyEnd(list);
      const decoder = new ChunkedDecoder();
      assertEquals(decoder.next(bytes, 0, bytes.length), bytes.length);
      assert(decoder.done);
      const lines = textOf(decoder.trailers).split("\r\n").filter((line) => line !== "");
      const sent = fields.map(([name, value]) => `${name}: ${value}`);
      assert(lines.every((line) => sent.includes(line)));
    }),
    RUNS,
  );
});
