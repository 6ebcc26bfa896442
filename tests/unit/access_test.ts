import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  type AccessOptions,
  AccessPolicy,
  type AccessRequest,
  BEARER_CHALLENGE,
  parseTokenFile,
} from "../../lib/control/access.ts";

const SEED = 20260731;
const TOKEN = "correct-horse-battery";

/** The status of a refusal, or 200. */
function statusOf(
  policy: AccessPolicy,
  hostname: string,
  fields: Partial<Omit<AccessRequest, "remote">> = {},
): number {
  const decision = policy.check({
    remote: { hostname },
    method: "POST",
    authorization: undefined,
    host: undefined,
    origin: undefined,
    ...fields,
  });
  return decision.allowed ? 200 : decision.status;
}

Deno.test("without options only callers on this machine may call", () => {
  const policy = new AccessPolicy();
  for (const hostname of ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "unix"]) {
    assertEquals(statusOf(policy, hostname), 200, hostname);
  }
  const others = ["10.0.0.1", "::ffff:10.0.0.1", "fe80::1", "0.0.0.0", "localhost", "memory", ""];
  for (const hostname of others) assertEquals(statusOf(policy, hostname), 403, hostname);
});

Deno.test("callers in an allowed network need no token, whichever family carries them", () => {
  const policy = new AccessPolicy({
    allow: ["10.0.0.0/8", "192.0.2.7", "fd00::/8", "::10.0.0.0/104"],
  });
  const inside = [
    "10.0.0.1",
    "10.255.0.1",
    "::ffff:10.1.1.1",
    "192.0.2.7",
    "fdff::1",
    "::10.0.0.9",
  ];
  for (const hostname of inside) assertEquals(statusOf(policy, hostname), 200, hostname);
  for (const hostname of ["11.0.0.1", "192.0.2.8", "fe00::1", "::ffff:11.0.0.1", "::11.0.0.1"]) {
    assertEquals(statusOf(policy, hostname), 403, hostname);
  }
  assertEquals(statusOf(policy, "127.0.0.1"), 200);
});

Deno.test("a prefix of length 0 allows its own family only", () => {
  assertEquals(statusOf(new AccessPolicy({ allow: ["0.0.0.0/0"] }), "203.0.113.1"), 200);
  assertEquals(statusOf(new AccessPolicy({ allow: ["0.0.0.0/0"] }), "2001:db8::1"), 403);
  assertEquals(statusOf(new AccessPolicy({ allow: ["::/0"] }), "2001:db8::1"), 200);
  assertEquals(statusOf(new AccessPolicy({ allow: ["::/0"] }), "::ffff:203.0.113.1"), 403);
});

Deno.test("anybody else needs the token", () => {
  const policy = new AccessPolicy({ token: TOKEN });
  const status = (authorization?: string) => statusOf(policy, "203.0.113.1", { authorization });
  assertEquals(status(), 401);
  assertEquals(status(`Bearer ${TOKEN}`), 200);
  assertEquals(status(`bearer  ${TOKEN}`), 200);
  for (
    const wrong of [
      "",
      "Bearer",
      "Bearer ",
      TOKEN,
      `Basic ${TOKEN}`,
      `Bearer ${TOKEN}x`,
      `Bearer ${TOKEN.slice(1)}`,
      `Bearer ${TOKEN.toUpperCase()}`,
      `Bearer ${TOKEN} x`,
      `Bearer ${TOKEN}, Bearer ${TOKEN}`,
      `xBearer ${TOKEN}`,
    ]
  ) {
    assertEquals(status(wrong), 401, JSON.stringify(wrong));
  }
  assertStringIncludes(BEARER_CHALLENGE, "Bearer ");
});

Deno.test("whoever sends credentials is judged by them, also on this machine", () => {
  const authorization = "Bearer some-other-token-1";
  const withToken = new AccessPolicy({ token: TOKEN, allow: ["10.0.0.0/8"] });
  for (const hostname of ["127.0.0.1", "10.0.0.1", "unix"]) {
    assertEquals(statusOf(withToken, hostname, { authorization }), 401, hostname);
    assertEquals(statusOf(withToken, hostname), 200, hostname);
    assertEquals(statusOf(new AccessPolicy(), hostname, { authorization }), 403, hostname);
  }
});

Deno.test("the refusal of a token does not repeat it", () => {
  const decision = new AccessPolicy({ token: TOKEN }).check({
    remote: { hostname: "127.0.0.1" },
    method: "GET",
    authorization: "Bearer another-secret-token",
    host: undefined,
    origin: undefined,
  });
  assert(!decision.allowed);
  assert(!decision.reason.includes("secret"));
});

Deno.test("only IP literals and names of this machine are taken as host of a call without token", () => {
  const policy = new AccessPolicy({ token: TOKEN });
  const safe = [
    undefined,
    "",
    "127.0.0.1",
    "127.0.0.1:8080",
    "[::1]:8080",
    "203.0.113.9:80",
    "localhost",
    "LocalHost:8080",
    "lb.localhost:8080",
  ];
  for (const host of safe) assertEquals(statusOf(policy, "127.0.0.1", { host }), 200, host);
  const unsafe = [
    "rebind.example",
    "rebind.example:8080",
    "localhost.example",
    "notlocalhost",
    ".localhost",
    "127.0.0.1.example",
    "127.1",
    "0x7f.0.0.1",
    "::1",
    "[127.0.0.1]",
    "[localhost]",
    "[::1",
    "localhost:x",
    "localhost:80:80",
  ];
  for (const host of unsafe) {
    assertEquals(statusOf(policy, "127.0.0.1", { host }), 403, host);
    assertEquals(statusOf(policy, "127.0.0.1", { host, authorization: `Bearer ${TOKEN}` }), 200);
  }
});

Deno.test("a page of another origin may not call without token", () => {
  const policy = new AccessPolicy({ token: TOKEN, allow: ["10.0.0.0/8"] });
  const own: [origin: string, host: string][] = [
    ["http://127.0.0.1:8080", "127.0.0.1:8080"],
    ["http://localhost", "localhost"],
    ["http://localhost", "LOCALHOST:80"],
    ["https://localhost", "localhost:443"],
    ["http://[::1]:8080", "[::1]:8080"],
  ];
  for (const [origin, host] of own) {
    assertEquals(statusOf(policy, "10.0.0.1", { origin, host }), 200, `${origin} at ${host}`);
  }
  const foreign: [origin: string, host: string | undefined][] = [
    ["http://evil.example", "127.0.0.1:8080"],
    ["http://127.0.0.1:8081", "127.0.0.1:8080"],
    ["http://127.0.0.1", "127.0.0.1:8080"],
    ["http://localhost:8080", "127.0.0.1:8080"],
    ["null", "127.0.0.1:8080"],
    ["", "127.0.0.1:8080"],
    ["file://", "localhost"],
    ["http://127.0.0.1:8080", undefined],
    ["http://undefined", undefined],
    ["http://127.0.0.1:8080", ""],
  ];
  for (const [origin, host] of foreign) {
    for (const method of ["GET", "POST", "OPTIONS"]) {
      const fields = { origin, host, method };
      assertEquals(statusOf(policy, "10.0.0.1", fields), 403, `${origin} at ${host}`);
      const authorization = `Bearer ${TOKEN}`;
      assertEquals(statusOf(policy, "10.0.0.1", { ...fields, authorization }), 200);
    }
  }
});

Deno.test("a refused browser call says what to do instead", () => {
  const call = { remote: { hostname: "::1" }, method: "POST", authorization: undefined };
  const rebound = new AccessPolicy().check({ ...call, host: "rebind.example", origin: undefined });
  assert(!rebound.allowed);
  assertStringIncludes(rebound.reason, '"rebind.example"');
  assertStringIncludes(rebound.reason, "use an IP address, localhost or a token");
  const foreign = new AccessPolicy().check({
    ...call,
    host: "[::1]",
    origin: "http://evil.example",
  });
  assert(!foreign.allowed);
  assertStringIncludes(foreign.reason, '"http://evil.example" may not send "POST"');
});

Deno.test("networks that are not clear are refused with the value and an example", () => {
  const cases: [text: string, problem: string][] = [
    ["", "does not begin with an IP address"],
    ["localhost", "does not begin with an IP address"],
    ["10/8", "does not begin with an IP address"],
    ["010.0.0.0/8", "does not begin with an IP address"],
    ["0x0a.0.0.0/8", "does not begin with an IP address"],
    [" 10.0.0.0/8", "does not begin with an IP address"],
    ["[fd00::]/8", "does not begin with an IP address"],
    ["fe80::%eth0/10", "does not begin with an IP address"],
    ["10.0.0.0/8/8", "does not begin with an IP address"],
    ["10.0.0.0/", 'the prefix length "" is not 0 to 32'],
    ["10.0.0.0/33", 'the prefix length "33" is not 0 to 32'],
    ["10.0.0.0/08", 'the prefix length "08" is not 0 to 32'],
    ["10.0.0.0/255.0.0.0", "is not 0 to 32"],
    ["fd00::/129", 'the prefix length "129" is not 0 to 128'],
    ["10.1.0.0/8", "did you mean 10.0.0.0/8?"],
    ["fd00::1/64", "did you mean fd00::/64?"],
    ["::ffff:10.0.0.0/104", "must be written as the IPv4 network"],
  ];
  for (const [text, problem] of cases) {
    const error = assertThrows(() => new AccessPolicy({ allow: [text] }), TypeError, problem);
    assertStringIncludes(error.message, JSON.stringify(text));
    assertStringIncludes(error.message, "10.0.0.0/8");
  }
});

Deno.test("weak or odd tokens are refused without being repeated", () => {
  const cases: [token: string, problem: string][] = [
    ["", "has 0 characters"],
    ["x".repeat(15), "has 15 characters"],
    [`${"x".repeat(16)} y`, "at position 17"],
    [`${"x".repeat(16)}\n`, "at position 17"],
    [`ü${"x".repeat(16)}`, "at position 1"],
  ];
  for (const [token, problem] of cases) {
    const error = assertThrows(() => new AccessPolicy({ token }), TypeError, problem);
    assert(!error.message.includes("xxx"));
  }
});

Deno.test("parseTokenFile() takes one line break off and checks the rest", () => {
  for (const end of ["", "\n", "\r\n"]) assertEquals(parseTokenFile(TOKEN + end), TOKEN);
  for (const text of [`${TOKEN}\n\n`, ` ${TOKEN}`, `${TOKEN}\nmore`, "short\n", ""]) {
    assertThrows(() => parseTokenFile(text), TypeError, "the token has");
  }
});

Deno.test("no field but the right token ever opens what the address keeps closed", () => {
  const field = fc.option(
    fc.oneof(
      fc.string(),
      fc.constantFrom("127.0.0.1", "localhost", "http://localhost", "Bearer x"),
    ),
    { nil: undefined },
  );
  const options = fc.constantFrom<AccessOptions>({}, { token: TOKEN }, { allow: ["10.0.0.0/8"] });
  const hostname = fc.oneof(
    fc.constantFrom("203.0.113.1", "2001:db8::1", "localhost"),
    fc.domain(),
  );
  fc.assert(
    fc.property(
      options,
      hostname,
      fc.record({ authorization: field, host: field, origin: field, method: fc.string() }),
      (options, hostname, fields) => {
        assert(statusOf(new AccessPolicy(options), hostname, fields) !== 200);
      },
    ),
    { seed: SEED, numRuns: 1000 },
  );
});
