import { assertEquals } from "@std/assert";
import { BackendSearch } from "../../lib/grpc/l4/backend_search.ts";
import type { TunnelContext } from "../../lib/grpc/l4/context.ts";
import { GrpcL4Scene } from "../support/grpc_l4.ts";

/** A search that counts what it has opened. */
function makeSearch(context: TunnelContext) {
  const opened: string[] = [];
  const search = new BackendSearch({
    context,
    address: "192.0.2.1",
    isWanted: () => true,
    open: ({ backend }) => {
      opened.push(backend.addr);
      return Promise.resolve();
    },
  });
  return { search, opened };
}

Deno.test("a place that is given in the turn in which the search is cancelled is given back", async () => {
  await using scene = await GrpcL4Scene.open({ maxConnections: 1 });
  const [live] = scene.registry.backends;
  const lease = live!.acquire();
  const { search, opened } = makeSearch(scene.context);
  const found = search.run();
  assertEquals(scene.registry.waiting, 1);
  lease.release();
  assertEquals(scene.inFlight, 1, "it is given to who waits");
  search.cancel();
  assertEquals(await found, "client_closed");
  assertEquals([opened, scene.inFlight, scene.registry.waiting], [[], 0, 0]);
});

Deno.test("a search that waits for nothing cannot be cancelled, and later ones go on as if nothing were", async () => {
  await using scene = await GrpcL4Scene.open({ maxConnections: 1 });
  const { search, opened } = makeSearch(scene.context);
  search.cancel();
  assertEquals(await search.run(), undefined);
  assertEquals(opened, ["grpc://a:80"]);
});

Deno.test("without a backend the answer is no_backend, and nothing is tried", async () => {
  await using scene = await GrpcL4Scene.open({ backends: [] });
  const { search, opened } = makeSearch(scene.context);
  assertEquals([await search.run(), opened], ["no_backend", []]);
});
