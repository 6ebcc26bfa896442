import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  type Address,
  formatAddress,
  formatHostPort,
  isLoopback,
  parseAddress,
  parseIp,
  parseListenAddress,
} from "../../lib/common/address.ts";

const SEED = 20260731;

Deno.test("parseAddress() reads every accepted form", () => {
  const cases: [text: string, host: string, port: number, scheme: string][] = [
    ["localhost:8081", "localhost", 8081, ""],
    ["http://backend", "backend", 80, "http"],
    ["http://backend/", "backend", 80, "http"],
    ["https://api.example.com", "api.example.com", 443, "https"],
    ["HTTPS://API.Example.com:8443/", "api.example.com", 8443, "https"],
    ["grpc://users", "users", 80, "grpc"],
    ["grpcs://users", "users", 443, "grpcs"],
    ["tcp://db:5432", "db", 5432, "tcp"],
    ["192.0.2.7:1", "192.0.2.7", 1, ""],
    ["[::1]:65535", "::1", 65535, ""],
    ["http://[2001:DB8:0:0:0:0:0:1]", "2001:db8::1", 80, "http"],
    ["[64:ff9b::192.0.2.1]:80", "64:ff9b::c000:201", 80, ""],
    ["[::ffff:10.0.0.1]:80", "10.0.0.1", 80, ""],
    ["[::10.0.0.1]:80", "::a00:1", 80, ""],
    ["compose_web_1:80", "compose_web_1", 80, ""],
    ["example.com.:80", "example.com.", 80, ""],
    ["xn--bcher-kva.example:80", "xn--bcher-kva.example", 80, ""],
  ];
  for (const [text, host, port, scheme] of cases) {
    assertEquals<unknown>(parseAddress(text), { transport: "tcp", scheme, host, port }, text);
  }
});

Deno.test("parseAddress() uses the default port only where neither text nor scheme has one", () => {
  const portOf = (text: string) => {
    const address = parseAddress(text, { defaultPort: 9000 });
    return address.transport === "tcp" ? address.port : undefined;
  };
  assertEquals(portOf("backend"), 9000);
  assertEquals(portOf("[::1]"), 9000);
  assertEquals(portOf("tcp://backend"), 9000);
  assertEquals(portOf("backend:81"), 81);
  assertEquals(portOf("http://backend"), 80);
  assertThrows(() => parseAddress("backend", { defaultPort: 0 }), TypeError, "not 1 to 65535");
});

Deno.test("parseAddress() reads socket files and removes what does not change the file", () => {
  const path = "/run/app.sock";
  for (const text of ["unix:/run/app.sock", "unix:///run/app.sock", "UNIX:/run/.//app.sock"]) {
    assertEquals(parseAddress(text), { transport: "unix", scheme: "", path });
    assertEquals(formatAddress(parseAddress(text)), "unix:/run/app.sock");
  }
  assertEquals(formatAddress(parseAddress("unix:/a/../b")), "unix:/a/../b");
});

const REFUSED: [text: string, reason: string][] = [
  ["", "it is empty"],
  [" a:80", "white space"],
  ["a:80\n", "white space or control"],
  ["a\0:80", "control characters"],
  ["a\u00a0b:80", "white space"],
  ["a", "the port is missing"],
  ["tcp://a", "the port is missing"],
  ["a:", 'the port is missing after ":"'],
  ["a:0", "the port 0 is not 1 to 65535"],
  ["a:65536", "the port 65536 is not 1 to 65535"],
  ["a:99999999999999999999", "is not 1 to 65535"],
  ["a:080", "leading zero"],
  ["a:+80", '"+80" is not a number'],
  ["a:0x50", "is not a number"],
  ["a:８０", "is not a number"],
  [":80", "the host is empty"],
  ["http://", "the host is empty"],
  ["http://:80", "the host is empty"],
  ["ftp://a:21", 'the scheme "ftp" is not known'],
  ["://a:80", 'the scheme "" is not known'],
  ["http://user:secret@a", "user information"],
  ["http://a/x", "a path"],
  ["http://a//", "a path"],
  ["a:80/x", "a path"],
  ["http://a?x", "a query"],
  ["http://a#x", "a fragment"],
  ["http://a\\b", "the label"],
  ["::1:80", "brackets"],
  ["a:80:81", "brackets"],
  ["[::1", "brackets"],
  ["[::1]x:80", "brackets"],
  ["x[::1]:80", "brackets"],
  ["[::1]:[80]", "is not a number"],
  ["[]:80", "no IPv6 address"],
  ["[127.0.0.1]:80", "no IPv6 address"],
  ["[localhost]:80", "no IPv6 address"],
  ["[1::2::3]:80", "no IPv6 address"],
  ["[::12345]:80", "no IPv6 address"],
  ["[::ffff:01.2.3.4]:80", "no IPv6 address"],
  ["[::ffff:1.2.3]:80", "no IPv6 address"],
  ["[fe80::1%eth0]:80", "zone id"],
  ["[fe80::1%25eth0]:80", "zone id"],
  ["127.1:80", "four decimal numbers"],
  ["0x7f.0.0.1:80", "four decimal numbers"],
  ["127.0.0.0x1:80", "four decimal numbers"],
  ["010.0.0.1:80", "four decimal numbers"],
  ["256.0.0.1:80", "four decimal numbers"],
  ["1.2.3.4.:80", "four decimal numbers"],
  ["2130706433:80", "four decimal numbers"],
  ["a..b:80", 'the label ""'],
  [".:80", 'the label ""'],
  ["-a:80", 'the label "-a"'],
  ["a-.b:80", 'the label "a-"'],
  ["a%41:80", "the label"],
  ["*.example.com:80", 'the label "*"'],
  ["a,weight=2:80", "the label"],
  ["bücher.example:80", "xn--"],
  [`${"a".repeat(64)}:80`, "the label"],
  [`${"a.".repeat(127)}a:80`, "more than 253"],
  ["unix:", "must be absolute"],
  ["unix:app.sock", "must be absolute"],
  ["unix:/", "must name a file"],
  ["unix:/run/", "must name a file"],
  ["unix:/run/.", "must name a file"],
  [`unix:/${"é".repeat(54)}`, "109 bytes"],
];

Deno.test("parseAddress() refuses what is not an address and says why", () => {
  for (const [text, reason] of REFUSED) {
    const error = assertThrows(() => parseAddress(text), TypeError);
    assertStringIncludes(error.message, reason, `for ${JSON.stringify(text)}`);
    assertStringIncludes(error.message, "accepted is host:port");
  }
});

Deno.test("a message repeats the value, but neither a password nor a text without end", () => {
  const secret = assertThrows(() => parseAddress("http://user:secret@a"), TypeError);
  assert(!secret.message.includes("secret"));
  assertStringIncludes(secret.message, '"…@a"');
  const long = assertThrows(() => parseAddress("a".repeat(1e5)), TypeError);
  assert(long.message.length < 500);
});

Deno.test("a name of 253 characters is accepted, and its root's dot does not count", () => {
  const name = `${"a".repeat(63)}.`.repeat(3) + "a".repeat(61);
  assertEquals(name.length, 253);
  assertEquals(formatAddress(parseAddress(`${name}:80`)), `${name}:80`);
  assertEquals(formatAddress(parseAddress(`${name}.:80`)), `${name}.:80`);
});

Deno.test("parseListenAddress() also takes an empty host and port 0", () => {
  const cases: [text: string, normal: string][] = [
    [":8080", "0.0.0.0:8080"],
    [":0", "0.0.0.0:0"],
    ["[::]:80", "[::]:80"],
    ["LOCALHOST:0", "localhost:0"],
    ["unix:/run/lb.sock", "unix:/run/lb.sock"],
  ];
  for (const [text, normal] of cases) {
    assertEquals(formatAddress(parseListenAddress(text)), normal, text);
  }
});

Deno.test("parseListenAddress() takes a descriptor that was inherited", () => {
  assertEquals(parseListenAddress("fd:3"), { transport: "fd", fd: 3 });
  assertEquals(formatAddress(parseListenAddress("fd:1024")), "fd:1024");
  for (const text of ["fd:", "fd:2", "fd:-3", "fd:03", "fd:3x", "fd:web", "fd:12345678"]) {
    assertThrows(() => parseListenAddress(text), TypeError, "is not a whole number from 3 on");
  }
});

Deno.test("parseListenAddress() refuses schemes, missing ports and the rest", () => {
  const cases: [text: string, reason: string][] = [
    ["", "it is empty"],
    ["http://a:80", "takes no scheme"],
    ["8080", "the port is missing"],
    ["localhost", "the port is missing"],
    [":", "the port is missing"],
    ["*:80", 'the label "*"'],
    [":65536", "the port 65536 is not 0 to 65535"],
    [":00", "leading zero"],
    [":::80", "brackets"],
  ];
  for (const [text, reason] of cases) {
    const error = assertThrows(() => parseListenAddress(text), TypeError, reason);
    assertStringIncludes(error.message, "listen address");
    assertStringIncludes(error.message, "accepted is :port");
  }
});

Deno.test("formatHostPort() puts IPv6 in brackets", () => {
  assertEquals(formatHostPort("::1", 80), "[::1]:80");
  assertEquals(formatHostPort("10.0.0.1", 80), "10.0.0.1:80");
});

Deno.test("isLoopback() knows the loopback addresses of both families and no names", () => {
  const yes = ["127.0.0.1", "127.255.0.9", "::1", "0:0::1", "::ffff:127.0.0.1", "::FFFF:7f00:1"];
  const no = [
    "10.0.0.1",
    "0.0.0.0",
    "::",
    "::2",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "127.1",
    "0x7f.0.0.1",
  ];
  const never = ["", "localhost", "[::1]", "::1%lo", "127.0.0.1 ", "127.0.0.1.example"];
  for (const host of yes) assert(isLoopback(host), host);
  for (const host of [...no, ...never]) assert(!isLoopback(host), host);
});

const label = fc.stringMatching(/^[a-z_]([a-z0-9_-]{0,8}[a-z0-9])?$/);
const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join("."));
const ipv6 = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff })), {
  minLength: 8,
  maxLength: 8,
});
const port = fc.integer({ min: 1, max: 65535 });
const scheme = fc.constantFrom("", "http://", "https://", "grpc://", "grpcs://", "tcp://");

Deno.test("two spellings of an address give one text, which parses to the same address", () => {
  const longForm = (groups: number[]) =>
    `[${groups.map((group) => group.toString(16).padStart(4, "0")).join(":")}]`;
  const mixedForm = (groups: number[]) => {
    const [g = 0, h = 0] = groups.slice(6);
    const head = groups.slice(0, 6).map((group) => group.toString(16)).join(":");
    return `[${head}:${g >> 8}.${g & 255}.${h >> 8}.${h & 255}]`;
  };
  const spellings = fc.oneof(
    name.map((host) => [host, host.toUpperCase()]),
    fc.ipV4().map((host) => [host, host]),
    ipv6.map((groups) => [longForm(groups), mixedForm(groups).toUpperCase()]),
  );
  fc.assert(
    fc.property(spellings, port, scheme, fc.boolean(), ([a, b], port, scheme, slash) => {
      const one = formatAddress(parseAddress(`${scheme}${a}:${port}`));
      const implied = (port === 80 && /^(http|grpc):/.test(scheme)) ||
        (port === 443 && /^(http|grpc)s:/.test(scheme));
      const other = `${scheme.toUpperCase()}${b}${implied ? "" : `:${port}`}${slash ? "/" : ""}`;
      assertEquals(formatAddress(parseAddress(other)), one);
      assertEquals(formatAddress(parseAddress(one)), one);
    }),
    { seed: SEED, numRuns: 500 },
  );
});

Deno.test("hosts are normal as the URL standard has it, mapped IPv4 apart", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.ipV6().filter((ip) => !/%/.test(ip)),
        ipv6.map((groups) => groups.map((group) => group.toString(16)).join(":")),
      ),
      (ip) => {
        const url = new URL(`http://[${ip}]`).hostname;
        const mapped = url.startsWith("[::ffff:") && url.split(":").length === 5;
        fc.pre(!mapped);
        assertEquals(formatAddress(parseAddress(`http://[${ip}]`)), `http://${url}:80`);
      },
    ),
    { seed: SEED, numRuns: 500 },
  );
});

Deno.test("any text gives an address that survives a round trip, or a TypeError", () => {
  const pieces = fc.constantFrom(
    ..."abzAZ019.:[]/@?#%-_ \0".split(""),
    ...["::", "127.0.0.1", "localhost", "0x", "ffff:"],
  );
  const middle = fc.array(pieces, { maxLength: 8 }).map((all) => all.join(""));
  const begin = fc.constantFrom("", "http://", "http://", "unix:/");
  const texts = fc.oneof(
    fc.tuple(begin, middle, fc.constantFrom("", ":80")).map((all) => all.join("")),
    fc.string(),
  );
  let accepted = 0;
  let compared = 0;
  fc.assert(
    fc.property(texts, (text) => {
      let address: Address;
      try {
        address = parseAddress(text);
      } catch (error) {
        assert(error instanceof TypeError, String(error));
        return;
      }
      accepted++;
      assertEquals(parseAddress(formatAddress(address)), address);
      if (address.transport === "tcp" && address.scheme === "http" && !address.host.includes("_")) {
        compared++;
        const url = new URL(text);
        const ip = parseIp(url.hostname.replace(/^\[|\]$/g, ""))?.toString();
        assertEquals(address.host, ip ?? url.hostname, "another host than the URL standard finds");
      }
    }),
    { seed: SEED, numRuns: 10_000 },
  );
  assert(accepted > 500 && compared > 100, `${accepted} accepted, ${compared} compared`);
});
