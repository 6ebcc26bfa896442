import { assertEquals } from "@std/assert";
import { HttpL7 } from "../../mod.ts";

/**
 * Heads are parsed into objects that all connections of a listener share. This asks for many different
 * answers at once, so that a head that is read one turn too late is the head of somebody else.
 */
Deno.test("answers never mix, however many connections are busy at once", async () => {
  const backends = ["a", "b"].map((name) =>
    Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (request) => {
      const { pathname } = new URL(request.url);
      const body = await request.text();
      return new Response(`${pathname} ${body}`, {
        status: 200 + Number(pathname.slice(1)) % 4 * 100 + 1,
        headers: { "x-path": pathname, "x-body": body, "x-backend": name },
      });
    })
  );
  const lb = new HttpL7({ backends: backends.map((b) => `http://127.0.0.1:${b.addr.port}`) });
  const server = await lb.start("127.0.0.1:0");
  const { port } = server.addr as Deno.NetAddr;
  const client = Deno.createHttpClient({ poolMaxIdlePerHost: 128 });
  try {
    for (let round = 0; round < 20; round++) {
      await Promise.all(Array.from({ length: 100 }, async (_, i) => {
        const id = round * 100 + i;
        const response = await fetch(`http://127.0.0.1:${port}/${id}`, {
          client,
          method: "POST",
          body: `body-${id}`,
          redirect: "manual",
        });
        assertEquals(response.headers.get("x-path"), `/${id}`);
        assertEquals(response.headers.get("x-body"), `body-${id}`);
        assertEquals(response.status, 200 + id % 4 * 100 + 1);
        assertEquals(await response.text(), `/${id} body-${id}`);
      }));
    }
  } finally {
    client.close();
    await server.shutdown();
    for (const backend of backends) await backend.shutdown();
  }
});
