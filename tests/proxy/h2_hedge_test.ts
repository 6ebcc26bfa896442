import { assert, assertEquals } from "@std/assert";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { assertNotHedged, counts, HEDGE_MS, hedged, inFlight, ok } from "../support/hedged.ts";
import { GET, type H2Front, head, settleAll, testH2OverL7 } from "../support/h2_over_l7.ts";
import type { AskOptions } from "../support/h2_over_l7.ts";
import type { Fields } from "../support/h2_peer.ts";
import { A, B, type L7 } from "../support/l7.ts";

/** A request over HTTP/2 whose two tries are both under way. */
async function race(lb: L7, front: H2Front, fields: Fields = GET, options: AskOptions = {}) {
  const asked = front.ask(fields, options);
  const first = await lb.accept(A);
  const one = await first.request();
  await lb.time.expire(HEDGE_MS);
  const second = await lb.accept(B);
  const two = await second.request();
  assertEquals([two.start, two.fields, two.body], [one.start, one.fields, one.body]);
  return { asked, first, second, body: one.body };
}

for (const winner of ["first", "second"] as const) {
  testH2OverL7(
    `of two tries for a request over HTTP/2 the ${winner} answers, and the other is cancelled`,
    hedged(),
    async (lb, front) => {
      const body = winner.repeat(10_000);
      const put = head([":method", "PUT"]);
      const racing = await race(lb, front, put, { content: "body" });
      assertEquals(racing.body, "body");
      const [wins, loses] = winner === "first"
        ? [racing.first, racing.second]
        : [racing.second, racing.first];
      const sent = wins.send(ok(body));
      await front.end(racing.asked);
      await sent;
      assertEquals([racing.asked.value(":status"), racing.asked.text], ["200", body]);
      assertEquals([racing.asked.heads.length, loses.closedByProxy], [1, true]);
      await settleAll();
      assertEquals([inFlight(lb, A, B), counts(lb, A, B)], [[0, 0], [[1, 0, 0], [1, 1, 1]]]);
    },
  );
}

testH2OverL7("a stream that is reset cancels both tries", hedged(), async (lb, front) => {
  const { asked, first, second } = await race(lb, front);
  asked.stream.reset(H2Code.Cancel);
  await settleAll();
  assertEquals([first.closedByProxy, second.closedByProxy, inFlight(lb, A, B)], [
    true,
    true,
    [0, 0],
  ]);
  assertEquals(lb.listener.refusals.get("client_closed"), 1);
});

testH2OverL7("streams beside a race have answers of their own", hedged(), async (lb, front) => {
  const { asked, first, second } = await race(lb, front);
  const beside = front.ask(head([":path", "/beside"]));
  const other = await lb.accept(A);
  await other.answer(ok("beside"));
  await front.end(beside);
  first.reset();
  await settleAll();
  assertEquals(asked.ended, false);
  await second.send(ok("second"));
  await front.end(asked);
  assertEquals([beside.text, asked.text], ["beside", "second"]);
});

testH2OverL7("a request over HTTP/2 that goes on has one try", hedged(), async (lb, front) => {
  const asked = front.ask(head([":method", "PUT"]), { content: "begin", open: true });
  const backend = await lb.accept(A);
  const request = await backend.head();
  await assertNotHedged(lb);
  front.client.send(asked, "end", true);
  assert(request !== undefined);
  assertEquals((await backend.content(request, false)).body, "beginend");
  await backend.send(ok("one"));
  assertEquals((await front.end(asked)).text, "one");
});
