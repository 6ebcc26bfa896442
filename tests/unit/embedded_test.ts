import { assertEquals, assertThrows } from "@std/assert";
import { parseEmbedded } from "../../scripts/embedded.ts";

const encoder = new TextEncoder();

/** Bytes with their length in front, as the data section has them. */
function sized(content: string): Uint8Array {
  const bytes = encoder.encode(content);
  const out = new Uint8Array(8 + bytes.length);
  new DataView(out.buffer).setBigUint64(0, BigInt(bytes.length), true);
  out.set(bytes, 8);
  return out;
}

const METADATA = {
  entrypoint_key: "main.ts",
  permissions: { allow_net: [], allow_read: ["/etc"], deny_net: null, allow_ffi: null },
  unstable_config: { features: ["net"] },
};

const file = (n: string, size: number, derived: Record<string, [number, number]> = {}) => ({
  File: { n, o: [0, size], ...derived },
});
const dir = (n: string, ...e: unknown[]) => ({ Dir: { n, e } });

const TREE = [
  dir(
    ".deno_compile_node_modules",
    dir(
      "localhost",
      dir("@scope", dir("pkg", dir("1.0.0", file("index.js", 7)))),
      dir("plain", dir("2.0.0_1", file("a.js", 1), { Symlink: { n: "link" } })),
    ),
  ),
  dir("lib", dir("cli", file("run.ts", 10, { m: [10, 20], s: [30, 5], c: [35, 1] }))),
  file("main.ts", 3),
];

/** An executable whose own code contains the magic, as that of every runtime does. */
function executable(options: { metadata?: unknown; tree?: unknown } = {}): Uint8Array {
  const parts = [
    encoder.encode("\x7fELF d3n0l4nd code d3n0l4nd"),
    encoder.encode("d3n0l4nd"),
    sized(JSON.stringify(options.metadata ?? METADATA)),
    sized('plain@2.0.0 [{"no":"tree"'),
    new Uint8Array(12),
    sized(JSON.stringify(options.tree ?? TREE)),
    sized("x".repeat(46)),
    encoder.encode("d3n0l4nd"),
  ];
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

Deno.test("files are listed with their path, size and derived size", () => {
  const npm = ".deno_compile_node_modules/localhost";
  assertEquals(parseEmbedded(executable()).files, [
    { path: `${npm}/@scope/pkg/1.0.0/index.js`, size: 7, derivedSize: 0 },
    { path: `${npm}/plain/2.0.0_1/a.js`, size: 1, derivedSize: 0 },
    { path: `${npm}/plain/2.0.0_1/link`, size: 0, derivedSize: 0 },
    { path: "lib/cli/run.ts", size: 10, derivedSize: 26 },
    { path: "main.ts", size: 3, derivedSize: 0 },
  ]);
});

Deno.test("the entry point, permissions, features, packages and data size are read", () => {
  const { files: _, ...rest } = parseEmbedded(executable());
  assertEquals(rest, {
    entrypoint: "main.ts",
    unstable: ["net"],
    permissions: ["allow_net"],
    npmPackages: ["@scope/pkg@1.0.0", "plain@2.0.0"],
    dataSize: 46,
  });
});

Deno.test("a section within a larger buffer is read at its offset", () => {
  const bytes = executable();
  const larger = new Uint8Array(bytes.length + 20);
  larger.set(bytes, 13);
  assertEquals(parseEmbedded(larger.subarray(13)), parseEmbedded(bytes));
});

Deno.test("a file that carries nothing is refused", () => {
  const message = "no data section";
  assertThrows(() => parseEmbedded(new Uint8Array(0)), SyntaxError, message);
  assertThrows(() => parseEmbedded(encoder.encode("d3n0l4nd")), SyntaxError, message);
  assertThrows(() => parseEmbedded(executable({ metadata: { a: 1 } })), SyntaxError, message);
});

Deno.test("a section that is cut off is refused", () => {
  const bytes = executable();
  assertThrows(() => parseEmbedded(bytes.subarray(0, 60)), SyntaxError, "no data section");
  const treeEnd = bytes.length - 8 - 46 - 8;
  assertThrows(() => parseEmbedded(bytes.subarray(0, treeEnd - 1)), SyntaxError, "no tree");
});
