import { assert, assertEquals } from "@std/assert";
import { AccessPolicy } from "../../lib/control/access.ts";
import { ManagementApi } from "../../lib/control/http_api.ts";
import { sniffHttp1, sniffManagement } from "../../lib/mux/sniff.ts";
import { bytesOf } from "../support/http_text.ts";
import { makeManagement } from "../support/management.ts";
import { mutate, Random } from "../support/prng.ts";

const METHODS = ["POST", "GET", "DELETE", "PATCH", "PUT", "HEAD", "OPTIONS"];

/** What the whole text says, told by one expression. */
const MANAGEMENT = new RegExp(
  `^(?:${METHODS.join("|")}) (?:/lb/add[ ?]|/lb/(?:backends|routes)[ ?/])`,
);

function sniff(text: string): string {
  return sniffManagement(bytesOf(text), text.length);
}

const CALLS = METHODS.flatMap((method) => [
  `${method} /lb/add HTTP/1.1`,
  `${method} /lb/add?x=y HTTP/1.1`,
  `${method} /lb/backends HTTP/1.1`,
  `${method} /lb/backends?x HTTP/1.1`,
  `${method} /lb/backends/b-123 HTTP/1.1`,
  `${method} /lb/routes HTTP/1.1`,
  `${method} /lb/routes/r-123?x HTTP/1.1`,
]);

const OTHERS = [
  "GET / HTTP/1.1",
  "GET /lb HTTP/1.1",
  "GET /lb/ HTTP/1.1",
  "POST /lb/addx HTTP/1.1",
  "POST /lb/add/x HTTP/1.1",
  "POST /lb/add\r\n",
  "POST /lb/adD HTTP/1.1",
  "GET /lb/backend HTTP/1.1",
  "GET /lb/backendss HTTP/1.1",
  "GET /lb/routes; HTTP/1.1",
  "post /lb/add HTTP/1.1",
  "POST  /lb/add HTTP/1.1",
  "TRACE /lb/add HTTP/1.1",
  "POSTS /lb/add HTTP/1.1",
  "P",
  "\r\nPOST /lb/add HTTP/1.1",
  " POST /lb/add HTTP/1.1",
  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
  "SSH-2.0-OpenSSH_9.6",
  "\0",
];

Deno.test("calls of the management API are told from everything else", () => {
  for (const text of CALLS) assertEquals(sniff(text), "yes", text);
  for (const text of OTHERS.filter((text) => text !== "P")) assertEquals(sniff(text), "no", text);
});

Deno.test("the verdict falls at the first byte that settles it, and stays", () => {
  for (const text of [...CALLS, ...OTHERS]) {
    const whole = sniff(text);
    let settled = false;
    for (let length = 0; length <= text.length; length++) {
      const verdict = sniff(text.slice(0, length));
      // Whatever may stand behind what has been read must not change the verdict.
      for (const filler of ["POST /lb/add ", "\0".repeat(40), "/?  /?  "]) {
        const bytes = bytesOf(text.slice(0, length) + filler);
        assertEquals(sniffManagement(bytes, length), verdict, `${length} bytes of ${text}`);
      }
      if (settled) assertEquals(verdict, whole, `${length} bytes of ${text}`);
      else if (verdict !== "more") {
        settled = true;
        assertEquals(verdict, whole, `${length} bytes of ${text}`);
      }
    }
  }
});

Deno.test("more bytes are asked for only while it could still be a call, and never many", () => {
  for (const text of CALLS) {
    const end = text.match(MANAGEMENT)![0].length;
    for (let length = 0; length < end; length++) {
      assertEquals(sniff(text.slice(0, length)), "more", text.slice(0, length));
    }
    assertEquals(sniff(text.slice(0, end)), "yes");
    assert(end <= 22, "the longest beginning");
  }
});

Deno.test("changed beginnings are judged as the expression judges them", () => {
  const random = new Random(11);
  const samples = CALLS.map(bytesOf);
  for (let round = 0; round < 5000; round++) {
    const bytes = mutate(random.pick(samples), random);
    const text = String.fromCharCode(...bytes);
    const verdict = sniffManagement(bytes, bytes.length);
    assertEquals(verdict === "yes", MANAGEMENT.test(text), JSON.stringify(text));
    if (bytes.length > 22) assert(verdict !== "more", JSON.stringify(text));
  }
});

Deno.test("what layer 4 takes for a management call is what the management API answers", () => {
  const api = new ManagementApi(makeManagement("l4").management, new AccessPolicy());
  const paths = new Set([...CALLS, ...OTHERS].map((text) => text.split(" ")[1] ?? ""));
  for (const target of paths) {
    const path = target.split("?")[0]!;
    assertEquals(sniff(`GET ${target} HTTP/1.1`) === "yes", api.claims(path), target);
  }
});

Deno.test("only what may begin an HTTP/1 request is taken for one", () => {
  const verdict = (text: string) => sniffHttp1(bytesOf(text), text.length);
  for (
    const text of [
      "GET /",
      "POST /lb/add HTTP/1.1",
      "OPTIONS *",
      "GET http://a/",
      "CONNECT a:1",
      "GET ",
      "GET  / HTTP/1.1",
      "PROPFIND /",
      "\r\nGET /",
      "\r\n\r\nGET /",
    ]
  ) {
    assertEquals(verdict(text), "yes", text);
  }
  for (const text of ["", "GET", "PROPFIND", "PROPFIND ", "\r", "\r\n", "\r\n\r", "\r\n\r\nGET"]) {
    assertEquals(verdict(text), "more", text);
  }
  for (
    const text of [
      " ",
      " /",
      "\x16\x03\x01\x00",
      "INVALID CONNECTION PREFACE",
      "GET\t/",
      "\rGET /",
      "\nGET /",
      "\r\n\r\n\r\nGET /",
      "\r\n /",
    ]
  ) assertEquals(verdict(text), "no", text);
});
