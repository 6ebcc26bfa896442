/**
 * Field lines: names, values, and what ends them.
 *
 * @module
 */
import {
  EVIL,
  FIELD,
  forward,
  get,
  head,
  reject,
  REQUEST_LINE,
  type RequestCase,
  seesGet,
} from "./case.ts";

/** A field line behind `Host: a` that must be refused. */
function refuse(id: string, rfc: string, why: string, line: string): RequestCase {
  return reject(id, rfc, why, FIELD, get(line));
}

/** A field line that must arrive as this one. */
function take(id: string, rfc: string, why: string, line: string, arrives = line): RequestCase {
  return forward(id, rfc, why, get(line), [seesGet(arrives)]);
}

const NAMES: readonly RequestCase[] = [
  refuse("N01", "9110 5.6.2", "a space in the name", "X Y: 1"),
  refuse("space-in-name", "9110 5.6.2", "a space in the name", "X A: b"),
  refuse("N02", "9112 5.1", "a space before the colon", "X-A : 1"),
  refuse("N03", "9112 5.1", "a tab before the colon", "X-A\t: 1"),
  refuse("N04", "9112 5", "no name (CVE-2023-25725: the list of fields ended here)", ": 1"),
  refuse("empty-name", "9112 5", "no name", ": b"),
  refuse("N05", "9112 5", "no colon", "X-A"),
  refuse("no-colon", "9112 5", "no colon", "XAb"),
  refuse("N13", "9110 5.6.2", "a name is ASCII", "X-\xe9: 1"),
  refuse("high-byte-name", "9110 5.6.2", "a name is ASCII", "X\xe9: b"),
  refuse("nul-in-name", "9110 5.6.2", "NUL in the name", "X\x00A: b"),
  refuse("N15", "9110 5.6.2", "a name is a token", "X(A): 1"),
  ...[...'"/;<=>?@[\\]{}'].map((character) =>
    refuse(`N15-${character}`, "9110 5.6.2", "a name is a token", `X${character}A: 1`)
  ),
  take("name-token", "9110 5.6.2", "all that a token may hold", "!#$%&'*+-.^_`|~0aZ: 1"),
  take("name-case", "9110 5.1", "names keep their spelling", "x-a-B: 1"),
  forward("underscores", "9110 5.1", "other names with underscores pass", get("X_Other: 1"), [
    seesGet("X_Other: 1"),
  ]),
];

const VALUES: readonly RequestCase[] = [
  refuse("N08", "9110 5.5", "NUL", "X-A: 1\x002"),
  refuse("nul-in-value", "9110 5.5", "NUL", "X-A: a\x00b"),
  refuse("N09", "9110 5.5", "a bare CR", "X-A: 1\r2"),
  refuse("bare-cr-in-value", "9112 2.2", "a bare CR makes a line for some", "X-A: b\rX-C: d"),
  refuse("bare-lf-mixed", "9112 2.2", "a bare LF makes a line for some", "X-A: b\nX-C: d"),
  refuse("bare-lf-only", "9112 2.2", "a line that ends in LF", "X-A: b\nX-C: d\n"),
  refuse("N10", "9110 5.5", "a control byte", "X-A: 1\x012"),
  refuse("N10-del", "9110 5.5", "DEL", "X-A: 1\x7f"),
  refuse("N10-esc", "9110 5.5", "ESC, for whoever reads logs", "X-A: \x1b[2J"),
  take("N12", "9110 5.5", "what is not ASCII is opaque", "X-A: \xe9"),
  take("high-byte-value", "9110 5.5", "what is not ASCII is opaque", "X-A: caf\xe9"),
  take("utf8-value", "9110 5.5", "UTF-8 too, byte for byte", "X-A: \xc3\xa9\xff\x80"),
  take("tab-in-value", "9110 5.5", "a tab inside", "X-A: a\tb"),
  take("ows-trimmed", "9112 5.1", "white space around a value goes", "X-A:   b  ", "X-A: b"),
  take("ows-tabs", "9112 5.1", "tabs too", "X-A:\t b c\t ", "X-A: b c"),
  take("ows-none", "9112 5.1", "there may be none", "X-A:b", "X-A: b"),
  take("empty-value", "9112 5", "a value may be empty", "X-A:", "X-A: "),
  take("blank-value", "9112 5.1", "white space is no value", "X-A:  \t ", "X-A: "),
  take("value-colons", "9112 5", "the first colon counts", "X-A: b: c:: d"),
  forward(
    "repeated",
    "9110 5.3",
    "lines of one name stay apart and in order",
    get("X-A: 1", "X-B: 2", "x-a: 3", "X-A: 1"),
    [seesGet("X-A: 1", "X-B: 2", "x-a: 3", "X-A: 1")],
  ),
];

const LINES: readonly RequestCase[] = [
  reject(
    "N06",
    "9112 2.2",
    "the first field is folded into the request line",
    FIELD,
    head("GET / HTTP/1.1", " X: y", "Host: a"),
  ),
  reject(
    "first-header-folded",
    "9112 2.2",
    "Host is folded into the request line",
    FIELD,
    head("GET / HTTP/1.1", " Host: a.example"),
  ),
  refuse("N07", "9112 5.2", "a folded line", "X-A: 1\r\n 2"),
  refuse("N07-tab", "9112 5.2", "folded with a tab", "X-A: 1\r\n\t2"),
  refuse("N07-empty", "9112 5.2", "a line of white space", "X-A: 1\r\n "),
  refuse("obs-fold", "9112 5.2", "a folded line", "X-A: 1\r\n b"),
  refuse("N18", "9112 2.2", "CR CR LF ends the header section for some (CVE-2023-30589)", "\rX: 1"),
  refuse("cr-cr-lf", "9112 2.2", "CR CR LF behind a value", "X: 1\r"),
  reject(
    "N20",
    "9112 2.2",
    "LF ends the header section for some",
    FIELD,
    "GET / HTTP/1.1\r\nHost: a\r\n\nX: y\r\n\r\n",
  ),
  reject("lf-cr", "9112 2.2", "LF CR", FIELD, "GET / HTTP/1.1\r\nHost: a\n\r\n\r\n"),
  reject(
    "cr-end",
    "9112 2.2",
    "CR X instead of the empty line",
    FIELD,
    "GET / HTTP/1.1\r\nHost: a\r\n\rX",
  ),
  forward(
    "head-end",
    "9112 2.1",
    "a head without more than the client's half of the connection",
    get(),
    [seesGet()],
  ),
  reject(
    "second-malformed",
    "9112 9.3.2",
    "what comes before a malformed request is answered",
    REQUEST_LINE,
    get() + " " + EVIL,
    { forwarded: [seesGet()] },
  ),
  reject(
    "second-no-colon",
    "9112 9.3.2",
    "the same for a field",
    FIELD,
    get() + "GET / HTTP/1.1\r\nHost\r\n\r\n" + EVIL,
    { forwarded: [seesGet()] },
  ),
];

/** All cases about field lines. */
export const FIELD_CASES: readonly RequestCase[] = [...NAMES, ...VALUES, ...LINES];
