import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import { compileTarget, type Target, TARGETS } from "../../scripts/compile.ts";
import { readEmbedded } from "../../scripts/embedded.ts";
import {
  PROJECT_ROOT,
  readModuleGraph,
  runtimeModules,
  runtimeNpmPackages,
} from "../../scripts/module_graph.ts";
import { ScriptError } from "../../scripts/script.ts";

/** What the program and its packages may take at most inside an executable. */
const MAX_EMBEDDED_BYTES = 32 * 2 ** 20;

const HOST: Target | undefined = TARGETS.find((target) => target === Deno.build.target);

/** The files of a folder of the project and its folders; none if it is not there. */
function filesOf(folder: string): string[] {
  const files: string[] = [];
  try {
    for (const { name, isFile } of Deno.readDirSync(`${PROJECT_ROOT}/${folder}`)) {
      if (isFile) files.push(`${folder}/${name}`);
      else files.push(...filesOf(`${folder}/${name}`));
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return files;
}

// `deno` stands in for `denort`, which registries do not carry. What is embedded is the same, but the
// result is not the program: `deno` is the command line tool and ignores its data section, only
// `denort` runs it.
Deno.test({
  name: "an executable carries the program, its packages and its protocol files, and nothing else",
  ignore: HOST === undefined,
  fn: async () => {
    const folder = await Deno.makeTempDir({ prefix: "lb-compile-" });
    try {
      const output = `${folder}/lb${Deno.build.os === "windows" ? ".exe" : ""}`;
      await compileTarget({ target: HOST!, output, denort: Deno.execPath() });
      const embedded = await readEmbedded(output);
      const graph = await readModuleGraph("main.ts");

      const own = embedded.files.map(({ path }) => path)
        .filter((path) => !path.startsWith(".deno_compile_node_modules/"));
      assertEquals(own.sort(), [...runtimeModules(graph), ...filesOf("proto")].sort());
      assert(own.some((path) => path.startsWith("lib/")), "no module of lib is embedded");

      const withoutPeers = (id: string) => id.replace(/(?<=.@[^_]+)_.*$/, "");
      assertEquals(embedded.npmPackages, runtimeNpmPackages(graph).map(withoutPeers).sort());
      assertEquals(embedded.entrypoint, "main.ts");
      for (const permission of ["allow_net", "allow_read", "allow_write", "allow_env"]) {
        assert(embedded.permissions.includes(permission), `${permission} is not granted`);
      }
      assertLess(embedded.dataSize, MAX_EMBEDDED_BYTES);
      assertEquals([...Deno.readDirSync(folder)].length, 1, "files were left behind");
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test("a runtime that is not there is refused by name, and nothing is left behind", async () => {
  const folder = await Deno.makeTempDir({ prefix: "lb-compile-" });
  try {
    const denort = `${folder}/absent`;
    await assertRejects(
      () => compileTarget({ target: TARGETS[0], output: `${folder}/lb`, denort }),
      ScriptError,
      `no file at '${denort}'`,
    );
    assertEquals([...Deno.readDirSync(folder)], []);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test({
  name: "a runtime for another system is refused with the name of the target",
  ignore: HOST !== "x86_64-unknown-linux-gnu" && HOST !== "aarch64-unknown-linux-gnu",
  fn: async () => {
    const folder = await Deno.makeTempDir({ prefix: "lb-compile-" });
    try {
      const target = "x86_64-pc-windows-msvc";
      const output = `${folder}/lb.exe`;
      await assertRejects(
        () => compileTarget({ target, output, denort: Deno.execPath() }),
        ScriptError,
        `is not a denort for ${target}`,
      );
      assertEquals([...Deno.readDirSync(folder)], []);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test("an unknown target is refused with the accepted ones, without a trace", async () => {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", `${PROJECT_ROOT}/scripts/compile.ts`, "--target", "vax"],
  }).output();
  const message = new TextDecoder().decode(stderr);
  assertEquals(code, 1);
  assert(message.startsWith("compile: --target: 'vax' is none of host, all, x86_64-"), message);
  assertEquals(message.trim().split("\n").length, 1);
});
