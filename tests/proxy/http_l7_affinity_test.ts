import { assert, assertEquals } from "@std/assert";
import { makeKeyReader, parseHashBy } from "../../lib/http/l7/affinity.ts";
import { Stickiness } from "../../lib/http/l7/sticky.ts";
import { RouteBuilder } from "../../lib/route/builder.ts";
import { A, B, type Client, type L7, testL7 } from "../support/l7.ts";

const C = "http://c:80";
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

testL7("requests are hashed by what was chosen, and a retry goes to the next on the ring", {
  backends: [A, B, C],
  strategy: "consistent-hash",
  context: { keyOf: makeKeyReader(parseHashBy("header:x-user")) },
}, async (lb) => {
  for (const addr of [A, B, C]) {
    lb.at(addr).serve(() => `HTTP/1.1 200 OK\r\nContent-Length: ${addr.length}\r\n\r\n${addr}`);
  }
  const client = lb.connect();
  const ask = async (user: string) =>
    (await client.ask(`GET / HTTP/1.1\r\nHost: a\r\nX-User: ${user}\r\n\r\n`)).body;
  const homes = new Map<string, string>();
  for (let user = 0; user < 30; user++) homes.set(`u${user}`, await ask(`u${user}`));
  assertEquals(new Set(homes.values()).size, 3);
  for (const [user, home] of homes) assertEquals(await ask(user), home);
  lb.live(A).http.closeIdle();
  lb.at(A).refuse();
  const moved = new Set<string>();
  for (const [user, home] of homes) {
    const now = await ask(user);
    if (home === A) moved.add(now);
    else assertEquals(now, home, "others stay where they are");
  }
  assertEquals(moved.has(A), false);
});

testL7("by address, a client behind a trusted proxy is the one that the proxy names", {
  backends: [A, B, C],
  strategy: "consistent-hash",
  context: {
    keyOf: makeKeyReader(parseHashBy("address")),
    isTrusted: (address) => address === "192.0.2.1",
  },
}, async (lb) => {
  for (const addr of [A, B, C]) {
    lb.at(addr).serve(() => `HTTP/1.1 200 OK\r\nContent-Length: ${addr.length}\r\n\r\n${addr}`);
  }
  const proxy = lb.connect();
  const stranger = lb.connect({ hostname: "203.0.113.7", port: 1 });
  const ask = async (client: Client, address: string) =>
    (await client.ask(`GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: ${address}\r\n\r\n`)).body;
  const homes: string[] = [];
  for (let i = 0; i < 30; i++) homes.push(await ask(proxy, `10.9.8.7, 198.51.100.${i}`));
  assertEquals(new Set(homes).size, 3);
  for (let i = 0; i < 30; i++) assertEquals(await ask(proxy, `198.51.100.${i}`), homes[i]);
  const strange: string[] = [];
  for (let i = 0; i < 30; i++) strange.push(await ask(stranger, `198.51.100.${i}`));
  assertEquals(new Set(strange).size, 1, "whoever is not trusted is hashed by its own address");
});

/** A balancer that keeps clients at their backend. */
function stickyL7(
  name: string,
  options: ConstructorParameters<typeof L7>[0],
  run: (lb: L7) => Promise<void>,
) {
  testL7(name, {
    backends: [A, B],
    ...options,
    context: { sticky: new Stickiness({ cookie: "lb" }), ...options?.context },
  }, async (lb) => {
    for (const addr of [A, B]) {
      lb.at(addr).serve(() =>
        `HTTP/1.1 200 OK\r\nContent-Length: ${addr.length}\r\nSet-Cookie: app=1\r\n\r\n${addr}`
      );
    }
    await run(lb);
  });
}

function withCookie(cookie: string): string {
  return `GET / HTTP/1.1\r\nHost: a\r\nCookie: ${cookie}\r\n\r\n`;
}

stickyL7("a client gets a cookie with its first answer and stays where it was", {}, async (lb) => {
  const client = lb.connect();
  const first = await client.ask(GET);
  assertEquals(first.all("set-cookie"), [
    "app=1",
    `lb=${lb.live(A).id}; Path=/; HttpOnly; SameSite=Lax`,
  ]);
  for (let i = 0; i < 5; i++) {
    const again = await client.ask(withCookie(`x=y; lb=${lb.live(B).id}`));
    assertEquals([again.body, again.all("set-cookie")], [B, ["app=1"]]);
  }
});

stickyL7("a client moves when its backend is not fit, and is told so", {}, async (lb) => {
  const client = lb.connect();
  const leave: (() => void)[] = [
    () => lb.live(A).health.fail("down"),
    () => {
      lb.live(A).health.pass();
      lb.registry.drain(lb.live(A));
    },
    () => lb.registry.removeBackend(lb.live(A)),
  ];
  const { id } = lb.live(A);
  for (const step of leave) {
    step();
    const moved = await client.ask(withCookie(`lb=${id}`));
    assertEquals(moved.body, B);
    assertEquals(moved.all("set-cookie").at(-1)!.split(";")[0], `lb=${lb.live(B).id}`);
  }
  for (const nonsense of ["lb=", "lb=b00", "lb=../x", "LB=1"]) {
    const answer = await client.ask(withCookie(nonsense));
    assertEquals(answer.all("set-cookie").at(-1)!.split(";")[0], `lb=${lb.live(B).id}`);
  }
});

stickyL7("a retry moves the client too; a backend that fails keeps nobody", {}, async (lb) => {
  const client = lb.connect();
  lb.at(A).refuse();
  const moved = await client.ask(withCookie(`lb=${lb.live(A).id}`));
  assertEquals([moved.body, moved.all("set-cookie").at(-1)!.split(";")[0]], [
    B,
    `lb=${lb.live(B).id}`,
  ]);
  const failing = "http://d:80";
  lb.at(failing).serve(() => "HTTP/1.1 503 X\r\nContent-Length: 4\r\n\r\nnope");
  lb.registry.addBackend({ addr: failing });
  let failed = 0;
  for (let i = 0; i < 6; i++) {
    const answer = await client.ask(GET);
    if (answer.status !== 503) continue;
    failed++;
    assertEquals(answer.all("set-cookie").filter((value) => value.startsWith("lb=")), []);
  }
  assert(failed > 0);
});

stickyL7("a backend of weight 0 keeps its clients and gets no new ones", {}, async (lb) => {
  lb.registry.addBackend({ addr: A, weight: 0 });
  const client = lb.connect();
  for (let i = 0; i < 4; i++) assertEquals((await client.ask(GET)).body, B);
  assertEquals((await client.ask(withCookie(`lb=${lb.live(A).id}`))).body, A);
});

stickyL7("changes that a route makes to cookies are those of the backend's, not of ours", {
  routes: [
    new RouteBuilder().path("/").target(A).removeResponseHeader("Set-Cookie")
      .addResponseHeader("X-Own", "1").build(),
  ],
}, async (lb) => {
  const answer = await lb.connect().ask(GET);
  assertEquals(answer.all("set-cookie"), [`lb=${lb.live(A).id}; Path=/; HttpOnly; SameSite=Lax`]);
  assertEquals(answer.get("x-own"), "1");
});
