import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { GrpcServer } from "../../lib/cli/demo/grpc_server.ts";
import { countUp, formatCounts, isSame } from "../../lib/cli/demo/part.ts";
import { encodeRequest, makeHandlers } from "../../lib/cli/demo/shop.ts";
import { H2Client } from "../support/h2_peer.ts";
import { Program, runProgram } from "../support/program.ts";
import { testWithTools } from "../support/tools.ts";

Deno.test("the demo ends with code 0 after calls of both protocols, with who answered them", async () => {
  const { code, stdout, stderr } = await runProgram(["demo", "--once"]);
  assertEquals([code, stderr], [0, ""], stdout);
  for (
    const text of [
      "blue 10, green 10",
      "blue OK 10, green OK 10",
      "canary OK 10",
      "blue NOT_FOUND 2, green NOT_FOUND 2",
      "blue UNIMPLEMENTED 1, green UNIMPLEMENTED 1",
    ]
  ) assertStringIncludes(stdout, text);
  assert(!stdout.includes("WRONG") && !stdout.includes("grpcurl"));
});

testWithTools(
  ["grpcurl"],
  "every grpcurl line of the demo works as it is pasted",
  async (tools) => {
    const path = `${tools.grpcurl.replace(/\/[^/]*$/, "")}:${Deno.env.get("PATH")}`;
    await using program = new Program(["demo"]);
    const paste = async (line: RegExp) => {
      const command = await program.find(line, "stdout");
      const { code, stdout, stderr } = await new Deno.Command("sh", {
        args: ["-c", command],
        env: { PATH: path },
      }).output();
      const text = new TextDecoder();
      assertEquals([code, text.decode(stderr)], [0, ""], command);
      return text.decode(stdout);
    };
    const services = await paste(/^(grpcurl \S+ \S+ list)$/m);
    for (const name of ["demo.Shop", "grpc.health.v1.Health", "lb.LoadBalancer"]) {
      assert(services.split("\n").includes(name), services);
    }
    assertStringIncludes(await paste(/^(grpcurl .* describe demo\.Shop)$/m), "rpc Price");
    assertStringIncludes(await paste(/^(grpcurl .*Health\/Check)$/m), '"SERVING"');
    const price = /^(grpcurl .* demo\.Shop\/Price)$/m;
    const servers = async (times: number) => {
      const names = new Set<string>();
      for (let i = 0; i < times; i++) names.add(JSON.parse(await paste(price)).served_by);
      return [...names].sort();
    };
    assertEquals(await servers(4), ["blue", "green"]);
    assertStringIncludes(await paste(/^(grpcurl .* lb\.LoadBalancer\/AddL4)$/m), '"id"');
    assertEquals(await servers(6), ["blue", "canary", "green"]);
    assertEquals((await program.stop()).code, 0);
  },
);

/** A message with its prefix. */
function framed(message: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(5 + message.length);
  new DataView(bytes.buffer).setUint32(1, message.length);
  bytes.set(message, 5);
  return bytes;
}

async function connect(server: GrpcServer): Promise<H2Client> {
  const [hostname, port] = server.addr.split(":");
  return await H2Client.connect({ transport: "tcp", hostname: hostname!, port: Number(port) });
}

Deno.test("a backend of the demo answers each message of a call, however it is split", async () => {
  await using server = new GrpcServer(new Map([["/t.T/Echo", (message) => message]]));
  await using client = await connect(server);
  const call = client.call("/t.T/Echo", { open: true });
  const both = [...framed(new Uint8Array([1, 2, 3])), ...framed(new Uint8Array(0))];
  for (const byte of both) client.send(call, new Uint8Array([byte]));
  client.send(call, "", true);
  await call.done;
  assertEquals(call.received, both.length);
  assertEquals([...call.chunks.flatMap((chunk) => [...chunk])], both);
  assertEquals(call.value("grpc-status"), "0");
});

Deno.test("a backend of the demo says what is wrong with a call", async () => {
  await using server = new GrpcServer(
    new Map([...makeHandlers("blue"), ["/t.T/Fail", () => {
      throw new TypeError("broken");
    }]]),
  );
  await using client = await connect(server);
  const status = async (path: string, content: Uint8Array) => {
    const call = await client.call(path, { content }).done;
    return [call.value("grpc-status"), call.value("grpc-message")];
  };
  const gold = framed(encodeRequest("PriceRequest", { item: "gold" }));
  assertEquals(await status("/demo.Shop/Price", gold), [
    "5",
    'item: there is no "gold"; there are tea, coffee, cup',
  ]);
  assertEquals((await status("/demo.Shop/Price", framed(new Uint8Array([255]))))[0], "3");
  assertEquals((await status("/demo.Shop/Steal", gold))[0], "12");
  assertEquals(await status("/t.T/Fail", gold), ["13", "TypeError: broken"]);
  assertEquals((await status("/t.T/Fail", new Uint8Array([0, 0, 1, 0, 0])))[0], "8");
  const empty = await client.call("/t.T/Fail").done;
  assertEquals(empty.value("grpc-status"), "3");
});

Deno.test("clients of the demo's backends may say goodbye at any moment", async () => {
  await using server = new GrpcServer(makeHandlers("blue"));
  const tea = framed(encodeRequest("PriceRequest", { item: "tea" }));
  for (let i = 0; i < 20; i++) {
    await using client = await connect(server);
    const calls = Array.from(
      { length: 10 },
      () => client.call("/demo.Shop/Price", { content: tea }),
    );
    client.connection.drain();
    for (const call of calls) assertEquals((await call.done).value("grpc-status"), "0");
  }
});

Deno.test("counts are put together, told as text and compared as a whole", () => {
  const counts = new Map<string, number>();
  countUp(counts, "blue");
  countUp(counts, "green", 2);
  countUp(counts, "blue");
  assertEquals(formatCounts(counts), "blue 2, green 2");
  assertEquals(isSame(counts, { blue: 2, green: 2 }), true);
  assertEquals(isSame(counts, { blue: 2 }), false);
  assertEquals(isSame(counts, { blue: 2, green: 2, red: 1 }), false);
  assertEquals(isSame(counts, { blue: 2, green: 3 }), false);
});
