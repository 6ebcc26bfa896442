import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import { cksum, renderStub, type StubOptions } from "../../scripts/portable.ts";

const STUB: StubOptions = {
  id: "0123456789abcdef",
  program: { name: "lb.js", size: 1000, checksum: 11, packedSize: 400 },
  runtime: { name: "deno", size: 9000, checksum: 22, packedSize: 3000 },
  unstable: [],
};

Deno.test("the checksum is that of POSIX cksum", () => {
  const of = (text: string) => cksum(new TextEncoder().encode(text));
  assertEquals(of(""), 4294967295);
  assertEquals(of("a"), 1220704766);
  assertEquals(of("123456789"), 930766865);
  assertEquals(cksum(new Uint8Array(70_000)), 1774371287);
});

Deno.test("a changed byte changes the checksum", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 300 }),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      (bytes, position, change) => {
        const other = bytes.slice();
        other[position % other.length]! ^= change;
        assert(cksum(bytes) !== cksum(other));
      },
    ),
    { seed: 20_261 },
  );
});

Deno.test("the script knows where the compressed program behind it begins", () => {
  const stub = renderStub(STUB);
  const offset = /^offset=(\d{8})$/m.exec(stub)?.[1];
  assertEquals(Number(offset), new TextEncoder().encode(stub).length + 1);
  assertStringIncludes(stub, '"$((offset + 400))" 3000');
});

Deno.test("the script starts the program without packages, remote code and configuration", () => {
  const stub = renderStub({ ...STUB, unstable: ["net", "kv"] });
  assertStringIncludes(
    stub,
    "run --no-npm --no-remote --no-config --no-lock --no-check -A --unstable-net --unstable-kv",
  );
});

Deno.test("the program knows which file takes its place, wherever it was started from", () => {
  const stub = renderStub(STUB);
  assertStringIncludes(stub, "case $self in /*) ;; *) self=$PWD/$self ;; esac");
  assert(/^ +LB_PROGRAM=\$self$[^]*^ +export .*\bLB_PROGRAM$[^]*^ +exec /m.test(stub));
});

Deno.test({
  name: "the script is valid for the system's shell",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const child = new Deno.Command("sh", { args: ["-n"], stdin: "piped", stderr: "piped" }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(renderStub(STUB)));
    await writer.close();
    const { code, stderr } = await child.output();
    assertEquals([code, new TextDecoder().decode(stderr)], [0, ""]);
  },
});
