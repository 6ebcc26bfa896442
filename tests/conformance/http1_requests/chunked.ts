/**
 * Bodies in the chunked coding.
 *
 * @module
 */
import {
  BODY_SIZE,
  CHUNK,
  CHUNKED,
  type Details,
  ENDED,
  EVIL,
  FIELD,
  forward,
  head,
  HEAD_SIZE,
  LARGE,
  post,
  reject,
  REQUEST_LINE,
  type RequestCase,
  sees,
  SEES_EVIL,
} from "./case.ts";

const LAST = "0\r\n\r\n";
const seesBody = (body: string, trailers: readonly string[] = []) =>
  sees(["POST / HTTP/1.1", "Host: a", CHUNKED], body, trailers);

/** A chunked body that must be refused. */
function refuse(
  id: string,
  why: string,
  body: string,
  refusal: readonly [number, string] = CHUNK,
  details: Details = {},
): RequestCase {
  return reject(id, "9112 7.1", why, refusal, post(CHUNKED) + body, { inBody: true, ...details });
}

/** A chunked body that must arrive as this content. */
function take(
  id: string,
  rfc: string,
  why: string,
  body: string,
  content: string,
  trailers: readonly string[] = [],
): RequestCase {
  return forward(id, rfc, why, post(CHUNKED) + body, [seesBody(content, trailers)]);
}

const SIZES: readonly RequestCase[] = [
  refuse(
    "K01",
    "17 digits wrap to 3 where 64 bits count",
    "10000000000000003\r\nabc\r\n" + LAST,
    BODY_SIZE,
  ),
  refuse("chunk-size-overflow", "17 digits", "10000000000000005\r\nhello\r\n" + LAST, BODY_SIZE),
  refuse("K02", "2^53+3: no double counts that", "20000000000003\r\nabc\r\n" + LAST, BODY_SIZE),
  refuse("K03", "only hex digits", "0x3\r\nabc\r\n" + LAST),
  refuse("K03-plus", "only hex digits", "+3\r\nabc\r\n" + LAST),
  refuse("K03-minus", "only hex digits", "-3\r\nabc\r\n" + LAST),
  refuse("K03-space", "no space in front", " 3\r\nabc\r\n" + LAST),
  refuse("K03-underscore", "only hex digits", "0_3\r\nabc\r\n" + LAST),
  refuse("K03-letter", "only hex digits", "Z\r\nabc\r\n" + LAST),
  refuse("K03-superscript", "only ASCII digits", "\xb3\r\nabc\r\n" + LAST),
  refuse("chunk-size-negative", "only hex digits", "-1\r\nx\r\n" + LAST),
  refuse("chunk-size-0x", "only hex digits", "0x5\r\nhello\r\n" + LAST),
  refuse("chunk-space-before-size", "no space in front", " 5\r\nhello\r\n" + LAST),
  refuse("chunk-minus-zero", "only hex digits, at the end too", "3\r\nabc\r\n-0\r\n\r\n"),
  refuse("K07", "no space behind, for no extension follows", "3 \r\nabc\r\n" + LAST),
  refuse("K07-tab", "nor a tab", "3\t\r\nabc\r\n" + LAST),
  refuse("K09", "a size needs a digit", "\r\n\r\n"),
  refuse("K09-later", "a size needs a digit, later too", "3\r\nabc\r\n\r\n" + LAST),
  refuse("K27", "30 digits: no size needs them", "0".repeat(29) + "3\r\nabc\r\n" + LAST),
  take("chunk-zeros", "9112 7.1", "some leading zeros", "0003\r\nabc\r\n" + LAST, "abc"),
  take(
    "chunk-upper-hex",
    "9112 7.1",
    "hex of either case, several zeros end",
    "A\r\nhellohello\r\n000\r\n\r\n",
    "hellohello",
  ),
  take(
    "chunk-lower-hex",
    "9112 7.1",
    "hex of either case",
    "a\r\nhellohello\r\n" + LAST,
    "hellohello",
  ),
  take(
    "chunk-many",
    "9112 7.1",
    "a chunk for each byte",
    "1\r\nx\r\n".repeat(300) + LAST,
    "x".repeat(300),
  ),
  take(
    "chunk-large",
    "9112 7.1",
    "a chunk larger than any buffer on the way",
    `${LARGE.length.toString(16)}\r\n${LARGE}\r\n` + LAST,
    LARGE,
  ),
  take(
    "chunk-like-evil",
    "9112 7.1",
    "content that looks like an end and a request",
    `${(LAST + EVIL).length.toString(16)}\r\n${LAST + EVIL}\r\n` + LAST,
    LAST + EVIL,
  ),
  take("chunk-empty-body", "9112 7.1", "no chunk at all", LAST, ""),
];

const LINE_ENDS: readonly RequestCase[] = [
  refuse("K11", "LF does not end a size", "3\nabc\r\n" + LAST),
  refuse("chunk-lf-only", "LF does not end a size", "5\nhello\r\n" + LAST),
  refuse("K12", "CR does not end a size", "3\rabc\r\n" + LAST),
  refuse("K12-x", "CR and another byte do not end a size", "3\rXabc\r\n" + LAST),
  refuse("K13-x", "CR and another byte do not end a chunk", "3\r\nabc\rX" + LAST),
  refuse("K13", "LF does not end a chunk", "3\r\nabc\n" + LAST),
  refuse("K13-cr", "CR does not end a chunk", "3\r\nabc\r" + LAST),
  refuse("K14", "a chunk ends in CRLF", "3\r\nabc" + LAST),
  refuse("K14-spill", "a chunk is as long as it says", "3\r\nabcd\r\n" + LAST),
  refuse("chunk-data-too-long", "a chunk is as long as it says", "5\r\nhelloXX\r\n" + LAST),
  refuse("chunk-data-too-short", "a chunk is as long as it says", "5\r\nabc\r\n" + LAST),
  refuse("K16", "nothing but CRLF ends a chunk", "3\r\nabcXX" + LAST),
  refuse("K17", "LF does not end the body", "0\r\n\n", FIELD),
  refuse("K17-size", "nor the last size", "0\n\r\n"),
  refuse("K17-cr", "nor does CR", "0\r\n\rX", FIELD),
];

const EXTENSIONS: readonly RequestCase[] = [
  take(
    "K19",
    "9112 7.1.1",
    "unknown extensions are ignored, and end here",
    "3;a=b\r\nabc\r\n" + LAST,
    "abc",
  ),
  take("K19-quoted", "9112 7.1.1", "a semicolon in quotes", '3;a="b;c"\r\nabc\r\n' + LAST, "abc"),
  take("K19-flag", "9112 7.1.1", "no value", "3;a\r\nabc\r\n" + LAST, "abc"),
  take("K19-several", "9112 7.1.1", "several", "3;a;b=c;d\r\nabc\r\n" + LAST, "abc"),
  take("K19-last", "9112 7.1.1", "on the last chunk", "3\r\nabc\r\n0;a=b\r\n\r\n", "abc"),
  take("chunk-ext", "9112 7.1.1", "ignored", "5;a=b\r\nhello\r\n" + LAST, "hello"),
  refuse("K21", "LF in an extension ends the line for some (TERM.EXT)", "3;\nxx\r\nabc\r\n" + LAST),
  refuse("chunk-ext-lf", "LF in an extension", "5;a\nb\r\nhello\r\n" + LAST),
  refuse("K22", "CR in an extension ends the line for some", "3;a\rb\r\nabc\r\n" + LAST),
  reject(
    "K22-quoted",
    "9112 7.1.1",
    "a quote does not hide the end of a line: the body ends, and what follows is no request",
    REQUEST_LINE,
    post(CHUNKED) + `3;a="\r\nabc\r\n${LAST}"\r\nabc\r\n${LAST}`,
    { forwarded: [seesBody("abc")] },
  ),
  refuse("K23", "CR CR", "3\r\r;a\r\nabc\r\n" + LAST),
  refuse("K24", "NUL in an extension", "3;\x00a\r\nabc\r\n" + LAST),
  refuse("K24-later", "DEL in an extension", "3;a\x7f\r\nabc\r\n" + LAST),
  refuse("K25", "an extension has a name", "3;\r\nabc\r\n" + LAST),
  refuse(
    "K25-space",
    "white space around the semicolon is bad by name already",
    "3 ;a\r\nabc\r\n" + LAST,
  ),
  refuse("K26", "extensions without end", `3;a=${"b".repeat(20_000)}\r\nabc\r\n` + LAST),
  refuse(
    "K26-spread",
    "the same spread over many chunks",
    `1;a=${"b".repeat(60)}\r\nx\r\n`.repeat(400) + LAST,
  ),
];

const TRAILERS: readonly RequestCase[] = [
  take("K28", "9112 7.1.2", "trailers pass", "3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n", "abc", ["X-T: 1"]),
  take(
    "K28-several",
    "9112 7.1.2",
    "in their order, each as it is",
    "0\r\nX-B:  1 \r\nx-a: \xe9\r\nX-B: 2\r\n\r\n",
    "",
    ["X-B: 1", "x-a: \xe9", "X-B: 2"],
  ),
  take(
    "K29",
    "9110 6.5.1",
    "a trailer does not frame",
    "0\r\nContent-Length: 5\r\nX-T: 1\r\n\r\n",
    "",
    ["X-T: 1"],
  ),
  take("K29-te", "9110 6.5.1", "nor does this one", "0\r\nTransfer-Encoding: chunked\r\n\r\n", ""),
  take("K29-host", "9110 6.5.1", "a trailer does not route", "0\r\nHost: b\r\n\r\n", ""),
  take(
    "K29-auth",
    "9110 6.5.1",
    "a trailer does not authenticate",
    "0\r\nAuthorization: x\r\nCookie: a=b\r\nProxy-Authorization: y\r\n\r\n",
    "",
  ),
  take(
    "K29-forwarded",
    "9110 6.5.1",
    "a trailer does not say who the client is",
    "0\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nX_Forwarded_For: 1.2.3.4\r\n\r\n",
    "",
  ),
  refuse("K30", "a trailer has a colon", "0\r\nX-T\r\n\r\n", FIELD),
  refuse("trailer-forbidden", "NUL in a name", "0\r\nContent-Length: 5\r\nX\x00: 1\r\n\r\n", FIELD),
  refuse("trailer-fold", "no folded lines", "0\r\nX-T: 1\r\n 2\r\n\r\n", FIELD),
  refuse("trailer-lf", "LF does not end a line", "0\r\nX-T: 1\n\r\n", FIELD),
  refuse("trailer-space", "no space before the colon", "0\r\nX-T : 1\r\n\r\n", FIELD),
  refuse("K31", "trailers of 100 KB", `0\r\nX-T: ${"a".repeat(100_000)}\r\n\r\n`, HEAD_SIZE),
  refuse("K31-many", "200 trailers", `0\r\n${"X-T: 1\r\n".repeat(200)}\r\n`, HEAD_SIZE),
];

const ENDS: readonly RequestCase[] = [
  refuse("K32", "the client ends before the last chunk", "3\r\nabc\r\n", ENDED, { end: true }),
  refuse("K32-size", "the client ends inside a size", "3\r\nabc\r\n1", ENDED, { end: true }),
  refuse("K32-data", "the client ends inside a chunk", "5\r\nabc", ENDED, { end: true }),
  refuse("K32-trailer", "the client ends inside the trailers", "0\r\nX-T: 1\r\n", ENDED, {
    end: true,
  }),
  forward(
    "chunked-then-evil",
    "9112 7.1",
    "behind the end begins another request",
    post(CHUNKED) + "3\r\nabc\r\n" + LAST + EVIL,
    [seesBody("abc"), SEES_EVIL],
  ),
  forward(
    "trailers-then-evil",
    "9112 7.1.2",
    "behind the trailers too",
    post(CHUNKED) + "0\r\nX-T: 1\r\n\r\n" + EVIL,
    [seesBody("", ["X-T: 1"]), SEES_EVIL],
  ),
  forward(
    "chunked-get",
    "9112 6.3",
    "a body is framed whatever the method",
    head("GET / HTTP/1.1", "Host: a", CHUNKED) + "3\r\nabc\r\n" + LAST,
    [sees(["GET / HTTP/1.1", "Host: a", CHUNKED], "abc")],
  ),
];

/** All cases about chunked bodies. */
export const CHUNKED_CASES: readonly RequestCase[] = [
  ...SIZES,
  ...LINE_ENDS,
  ...EXTENSIONS,
  ...TRAILERS,
  ...ENDS,
];
