import { assertEquals } from "@std/assert";
import { GrpcL7 } from "../../mod.ts";
import { type Call, echo, H2Backend, OK } from "../support/h2_peer.ts";
import { until } from "../support/net.ts";

/** A message with its prefix (PROTOCOL-HTTP2, "Length-Prefixed-Message"). */
function message(text: string): Uint8Array {
  return Uint8Array.of(0, 0, 0, 0, text.length, ...new TextEncoder().encode(text));
}

function answer(call: Call): void {
  switch (call.path) {
    case "/t.T/Unary":
      call.head();
      call.send(message("hello"));
      return call.end([["grpc-status", "0"], ["x-trailer", "t"]]);
    case "/t.T/Error":
      return call.end([...OK, ["grpc-status", "9"], ["grpc-message", "no%21 %E2%98%BA"]]);
    case "/t.T/Many":
      call.head();
      for (const text of ["1", "2", "3"]) call.send(message(text));
      return call.end();
    case "/t.T/Hang":
      return call.head();
    case "/t.T/Chat":
      return echo(call);
  }
}

Deno.test("calls of all kinds by grpc-js come to the same as without the balancer", async () => {
  await using one = H2Backend.listen({ onCall: answer });
  await using two = H2Backend.listen({ onCall: answer });
  const lb = new GrpcL7({ backends: [one.addr, two.addr] });
  const server = await lb.start("127.0.0.1:0");
  try {
    const run = async (addr: string) => {
      const { stdout, stderr, code } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", new URL("../support/grpc_js_client.ts", import.meta.url).href, addr],
        stdout: "piped",
        stderr: "piped",
      }).output();
      assertEquals(code, 0, new TextDecoder().decode(stderr));
      return JSON.parse(new TextDecoder().decode(stdout));
    };
    const outcomes = await run(`127.0.0.1:${(server.addr as Deno.NetAddr).port}`);
    const { unary, error, deadline, serverStream, bidi, cancelled } = outcomes;
    assertEquals(unary, { code: 0, details: "", messages: ["hello"], trailer: "t" });
    assertEquals([error.code, error.details], [9, "no! ☺"]);
    assertEquals([deadline.code, cancelled.code], [4, 1]);
    assertEquals(serverStream.messages, ["1", "2", "3"]);
    assertEquals(bidi.messages, ["x", "y"]);
    await until(
      () =>
        [one, two].flatMap((backend) => backend.calls)
          .filter((call) => call.path === "/t.T/Never" || call.path === "/t.T/Hang")
          .every((call) => call.reset !== undefined),
      "the backends see that two calls were given up",
    );
    const direct = await run(one.addr);
    for (const name of ["unary", "error", "serverStream", "clientStream", "bidi"]) {
      assertEquals(outcomes[name], direct[name], name);
    }
  } finally {
    await lb.close();
  }
});
