import { assert, assertEquals } from "@std/assert";
import { LocalSource } from "../../lib/grpc/reflection/local_source.ts";
import type { Question } from "../../lib/grpc/reflection/source.ts";
import { GrpcStatus } from "../../lib/grpc/status.ts";
import { ReflectionScene, UNAVAILABLE } from "../support/reflecting_backends.ts";

const LOCAL = { local: new LocalSource([], []) };

const kinds = (asked: readonly Question[][]) =>
  asked.map((questions) =>
    questions.map((question) => question.type === "services" ? "*" : question.name).join(" ")
  );

Deno.test("the files of all services are read in one call, and then those that they import", async () => {
  await using scene = new ReflectionScene();
  const a = scene.add("a");
  a.define("s.S", "s.proto", { imports: ["common.proto", "t.proto"] });
  a.define("s.T", "t.proto", { imports: ["common.proto", "google/protobuf/any.proto"] });
  a.files.set("common.proto", { imports: ["deep.proto"] });
  a.files.set("deep.proto", { imports: ["common.proto"] });
  a.services.push("grpc.reflection.v1.ServerReflection", "no.Definition");
  assertEquals(await scene.list(), [
    "s.S",
    "s.T",
    "grpc.reflection.v1.ServerReflection",
    "no.Definition",
  ]);
  await scene.quiet();
  assertEquals(kinds(a.asked), [
    "*",
    "s.S s.T no.Definition",
    "common.proto google/protobuf/any.proto",
    "deep.proto",
  ]);
});

Deno.test("the files are read again when the services change or a connection is a new one, and else not", async () => {
  await using scene = new ReflectionScene();
  const a = scene.add("a");
  a.define("s.S", "s.proto");
  const look = async () => {
    a.asked.length = 0;
    await scene.list();
    await scene.quiet();
    return kinds(a.asked);
  };
  assertEquals(await look(), ["*", "s.S"]);
  assertEquals(await look(), ["*"]);
  a.define("s.T", "t.proto");
  assertEquals(await look(), ["*", "s.S s.T"]);
  for (const connection of a.server.connections) connection.abort();
  await scene.quiet();
  assertEquals(await look(), ["*", "s.S s.T"]);
});

Deno.test("conflicts come to light without being asked for, and go when they are over", async () => {
  await using scene = new ReflectionScene();
  const [a, b, c] = [scene.add("a"), scene.add("b"), scene.add("c")];
  const imports = ["google/protobuf/any.proto"];
  a.define("s.S", "s.proto", { field: 1, imports });
  a.files.set("google/protobuf/any.proto", { field: 1 });
  b.define("s.T", "s.proto", { field: 2, imports });
  b.files.set("google/protobuf/any.proto", { field: 9 });
  c.define("s.S", "s.proto", { field: 1, imports });
  for (const index of [0, 1, 2]) await scene.list(index);
  await scene.quiet();
  assertEquals(scene.conflicts(), ["s.proto of a:80 and b:80 and c:80"]);
  // The program behind b is replaced by one with the same definitions as the others.
  b.services = [];
  b.files.clear();
  b.define("s.S", "s.proto", { field: 1, imports });
  for (const connection of b.server.connections) connection.abort();
  await scene.quiet();
  await scene.list(1);
  await scene.quiet();
  assertEquals(scene.conflicts(), []);
});

Deno.test("a conflict is over when its backend is removed", async () => {
  await using scene = new ReflectionScene();
  const [a, b] = [scene.add("a"), scene.add("b")];
  a.define("s.S", "s.proto", { field: 1 });
  b.define("s.S", "s.proto", { field: 2 });
  await scene.list(0);
  await scene.list(1);
  await scene.quiet();
  assertEquals(scene.conflicts().length, 1);
  scene.registry.removeBackend([...scene.registry.backends][1]!);
  assertEquals(scene.conflicts(), []);
});

Deno.test("the first use of reflection reads the files of all backends", async () => {
  await using scene = new ReflectionScene();
  const [a, b] = [scene.add("a"), scene.add("b")];
  a.define("s.S", "s.proto", { field: 1 });
  b.define("t.T", "s.proto", { field: 2 });
  const asking = scene.reflection.ask({ type: "symbol", name: "s.S" }, LOCAL);
  await scene.quiet();
  assertEquals((await asking).answer.type, "files");
  assertEquals(scene.conflicts().length, 1);
});

Deno.test("what was listed last is kept while the backend is down, and when its reflection goes", async () => {
  await using scene = new ReflectionScene();
  const a = scene.add("a");
  a.define("s.S", "s.proto");
  assertEquals(await scene.list(), ["s.S"]);
  const known = () => Array.from(scene.reflection.listed(), ([, services]) => services).flat();
  a.down = true;
  for (const connection of a.server.connections) connection.abort();
  await scene.quiet();
  assertEquals([await scene.list(), known()], [UNAVAILABLE, ["s.S"]]);
  a.down = false;
  a.speaks = "none";
  assertEquals([await scene.list(), known()], [GrpcStatus.Unimplemented, ["s.S"]]);
  a.speaks = "v1alpha";
  a.define("s.T", "t.proto");
  assertEquals([await scene.list(), known()], [["s.S", "s.T"], ["s.S", "s.T"]]);
});

Deno.test("v1 is asked first and then v1alpha, also by questions at the same time", async () => {
  await using scene = new ReflectionScene();
  const a = scene.add("a");
  a.speaks = "v1alpha";
  a.define("s.S", "s.proto");
  const answers = ["s.S", "no.Such"].map((name) =>
    scene.reflection.ask({ type: "symbol", name }, LOCAL)
  );
  await scene.quiet();
  const types = (await Promise.all(answers)).map(({ answer }) => answer.type);
  assertEquals(types, ["files", "error"]);
  const before = a.server.calls.length;
  await scene.list();
  await scene.quiet();
  const versions = a.server.calls.slice(before).map(({ path }) => path.split(".")[2]);
  assert(versions.length > 0);
  assertEquals(new Set(versions), new Set(["v1alpha"]));
});

Deno.test("a definition that has changed with a new program is not answered from what is kept", async () => {
  await using scene = new ReflectionScene();
  const a = scene.add("a");
  a.define("s.S", "s.proto", { field: 1 });
  const read = async () => {
    const asking = scene.reflection.ask({ type: "symbol", name: "s.S" }, LOCAL);
    await scene.quiet();
    const { answer } = await asking;
    return answer.type === "files" ? answer.files[0]!.toString() : answer.type;
  };
  const first = await read();
  a.define("s.S", "s.proto", { field: 2 });
  for (const connection of a.server.connections) connection.abort();
  await scene.quiet();
  await scene.list();
  const second = await read();
  assert(first !== second && second !== "error", second);
});

Deno.test("what is asked of a silent backend ends in time, or at once when it is given up", async () => {
  await using scene = new ReflectionScene();
  const a = scene.add("a");
  a.speaks = "silent";
  let asking = scene.reflection.list([...scene.registry.backends][0]!);
  await scene.quiet();
  await scene.time.expire(2_000);
  assertEquals((await asking)!.type, "error");
  asking = scene.reflection.list([...scene.registry.backends][0]!);
  await scene.quiet();
  scene.reflection.cancel();
  assertEquals(await asking, {
    type: "error",
    code: GrpcStatus.Cancelled,
    message: "the call was given up",
  });
  a.speaks = "v1";
  assertEquals(await scene.list(), []);
});
