import { assertEquals } from "@std/assert";
import { H2Code } from "../../lib/http/h2/errors.ts";
import { settleAll, testH2OverL7 } from "../support/h2_over_l7.ts";

/** As many as one connection may have translated. */
const MOST = 250;
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

testH2OverL7("of the requests of one client, 250 are at HTTP backends at a time", {
  connections: { maxConnections: MOST + 1 },
}, async (lb, front) => {
  const requests = Array.from({ length: MOST }, () => front.ask());
  await settleAll();
  assertEquals(requests.filter(({ ended }) => ended), []);
  const excess = await front.end(front.ask());
  assertEquals([excess.reset?.code, excess.reset?.unprocessed], [H2Code.RefusedStream, true]);
  assertEquals([...lb.listener.refusals], [["too_many_streams", 1]]);
  for (let i = 0; i < MOST; i++) {
    const backend = await lb.accept();
    await backend.answer(OK);
  }
  for (const request of requests) assertEquals((await front.end(request)).text, "ok");
  // There is room again.
  const next = front.ask();
  await settleAll();
  assertEquals(next.reset, undefined);
  assertEquals([...lb.listener.refusals], [["too_many_streams", 1]]);
});
