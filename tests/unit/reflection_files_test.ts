import { assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { readFiles } from "../../lib/grpc/reflection/file_reader.ts";
import { type FileSummary, SummaryCache } from "../../lib/grpc/reflection/file_summary.ts";
import type { Answer, Question } from "../../lib/grpc/reflection/source.ts";
import { encodeFile } from "../support/reflecting_backends.ts";

/** A file is a text: its name, then the files that it imports. */
const encode = (text: string) => new TextEncoder().encode(text);
const summarize = (bytes: Uint8Array): FileSummary => {
  const [name = "", ...dependencies] = new TextDecoder().decode(bytes).trim().split(" ");
  return { name, dependencies, symbols: [], shape: "" };
};

/** Reads files of a backend that sends each alone. */
async function read(services: readonly string[], files: Readonly<Record<string, string>>) {
  const batches: number[] = [];
  const found = await readFiles(services, {
    summarize,
    ask: (questions) => {
      batches.push(questions.length);
      return Promise.resolve(questions.map((question: Question): Answer => {
        const text = question.type === "services" ? undefined : files[question.name];
        return text === undefined
          ? { type: "error", code: 5, message: "not found" }
          : { type: "files", files: [encode(text)] };
      }));
    },
  });
  return { names: [...found.keys()], batches };
}

Deno.test("imports are followed, each once, in circles too", async () => {
  const files = { S: "s.p a.p b.p", "a.p": "a.p b.p", "b.p": "b.p a.p none.p" };
  assertEquals(await read(["S", "T"], files), {
    names: ["s.p", "a.p", "b.p"],
    batches: [2, 2, 1],
  });
  assertEquals(await read([], files), { names: [], batches: [] });
});

Deno.test("many questions are sent in calls of a hundred", async () => {
  const services = Array.from({ length: 250 }, (_, i) => `S${i}`);
  const files = Object.fromEntries(services.map((name) => [name, `${name}.p`]));
  const { names, batches } = await read(services, files);
  assertEquals([names.length, batches], [250, [100, 100, 50]]);
});

Deno.test("files end at a count, at a size and at a depth", async () => {
  const many = Array.from({ length: 2_100 }, (_, i) => `S${i}`);
  const one = await read(many, Object.fromEntries(many.map((name) => [name, `${name}.p`])));
  assertEquals([one.names.length, one.batches.length], [2_000, 21]);
  const large = " ".repeat(5 * 1024 * 1024);
  const sizes = ["A", "B", "C", "D", "E"];
  const two = await read(sizes, Object.fromEntries(sizes.map((name) => [name, `${name}${large}`])));
  assertEquals(two.names.length, 3);
  const chain = Object.fromEntries(
    Array.from({ length: 100 }, (_, i) => [`${i}`, `${i} ${i + 1}`]),
  );
  const three = await read(["0"], chain);
  assertEquals(three.names.length, 32);
});

Deno.test("a call that fails ends the reading", async () => {
  const ask = () => Promise.reject(new TypeError("no"));
  await assertRejects(() => readFiles(["S"], { summarize, ask }), TypeError, "no");
});

Deno.test("files of the same content are read once, and only so many are kept", () => {
  const cache = new SummaryCache(2);
  const [a, b, c] = [1, 2, 3].map((field) => encodeFile("a.proto", { service: "s.S", field }));
  const first = cache.summarize(a!);
  assertEquals([first.name, first.symbols], ["a.proto", ["s.M", "s.S"]]);
  assertStrictEquals(cache.summarize(a!.slice()), first);
  assertEquals(cache.summarize(b!).shape === first.shape, false);
  cache.summarize(c!);
  const again = cache.summarize(a!);
  assertEquals([again === first, again], [false, first]);
  assertThrows(() => cache.summarize(Uint8Array.of(0xff, 0xff)));
});
