import { assertEquals } from "@std/assert";
import {
  type InfoJson,
  parseInfo,
  runtimeModules,
  runtimeNpmPackages,
} from "../../scripts/module_graph.ts";

const npmPackage = (...dependencies: string[]) => ({ dependencies, localPath: "" });

const INFO: InfoJson = {
  roots: ["file:///p%20q/main.ts"],
  modules: [
    {
      specifier: "file:///p%20q/main.ts",
      dependencies: [
        { code: { specifier: "file:///p%20q/lib/a.ts" } },
        { type: { specifier: "file:///p%20q/lib/types.ts" } },
        { code: { specifier: "npm:used@1" } },
        { type: { specifier: "npm:shape@1" } },
        { code: { specifier: "node:fs" } },
        { code: {} },
      ],
    },
    {
      specifier: "file:///p%20q/lib/a.ts",
      dependencies: [{
        code: { specifier: "file:///p%20q/lib/untyped.js" },
        type: { specifier: "file:///p%20q/lib/untyped.d.ts" },
      }],
    },
    { specifier: "file:///p%20q/lib/types.ts" },
    { specifier: "file:///p%20q/lib/untyped.js" },
    { specifier: "file:///p%20q/lib/untyped.d.ts" },
    { specifier: "npm:/used@1.0.0", npmPackage: "used@1.0.0" },
    { specifier: "npm:/shape@1.0.0", npmPackage: "shape@1.0.0" },
  ],
  redirects: { "npm:used@1": "npm:/used@1.0.0", "npm:shape@1": "npm:/shape@1.0.0" },
  npmPackages: {
    "used@1.0.0": npmPackage("deep@2.0.0"),
    "deep@2.0.0": npmPackage("used@1.0.0"),
    "shape@1.0.0": npmPackage(),
    "unused@1.0.0": npmPackage(),
  },
};

Deno.test("files are named relative to the project and redirects are followed", () => {
  const graph = parseInfo(INFO, "file:///p%20q/");
  assertEquals(graph.root, "main.ts");
  assertEquals([...graph.modules.keys()], [
    "main.ts",
    "lib/a.ts",
    "lib/types.ts",
    "lib/untyped.js",
    "lib/untyped.d.ts",
  ]);
  assertEquals(graph.modules.get("main.ts")?.map(({ target }) => target), [
    "lib/a.ts",
    "lib/types.ts",
    "npm:/used@1.0.0",
    "npm:/shape@1.0.0",
    "node:fs",
  ]);
});

Deno.test("what is imported for its types only is not loaded at run time", () => {
  const graph = parseInfo(INFO, "file:///p%20q/");
  assertEquals(runtimeModules(graph), ["lib/a.ts", "lib/untyped.js", "main.ts"]);
});

Deno.test("npm packages are counted with what they depend on, and without those of no import", () => {
  const graph = parseInfo(INFO, "file:///p%20q/");
  assertEquals(runtimeNpmPackages(graph), ["deep@2.0.0", "used@1.0.0"]);
});
