import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { freePort } from "../../scripts/bench/process.ts";
import { buildPortable } from "../../scripts/portable.ts";

/** Milliseconds in which the file must have unpacked itself and opened its port. */
const START_TIMEOUT_MS = 30_000;

/** Folders of one test: the file, an empty home and an empty working folder. */
interface Place {
  file: string;
  home: string;
  work: string;
  /** The folder of the unpacked files. */
  unpacked(): string;
}

/** What a start printed and how it ended. */
interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** A start with nothing in the environment but the PATH and what is given. */
function command(place: Place, args: string[], env: Record<string, string> = {}): Deno.Command {
  return new Deno.Command(place.file, {
    args,
    cwd: place.work,
    clearEnv: true,
    env: { PATH: Deno.env.get("PATH") ?? "", HOME: place.home, ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
}

async function run(
  place: Place,
  args: string[],
  env: Record<string, string> = {},
): Promise<Outcome> {
  const { code, stdout, stderr } = await command(place, args, env).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

async function waitForPort(port: number): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

const permissionsOf = (path: string): number => Deno.statSync(path).mode! & 0o777;

Deno.test({
  name: "the portable file runs the program from an empty home and fetches nothing",
  ignore: Deno.build.os === "windows",
  fn: async (t) => {
    const root = await Deno.makeTempDir({ prefix: "lb-portable-" });
    const file = `${root}/lb`;
    let places = 0;
    const newPlace = async (): Promise<Place> => {
      const base = `${root}/${places++}`;
      const place: Place = {
        file,
        home: `${base}/home`,
        work: `${base}/work`,
        unpacked: () => {
          const cache = `${base}/home/.cache/lb`;
          return `${cache}/${[...Deno.readDirSync(cache)][0]!.name}`;
        },
      };
      await Deno.mkdir(place.home, { recursive: true });
      await Deno.mkdir(place.work);
      return place;
    };
    try {
      // Level 1: the contents count here, not the size.
      await buildPortable({ output: file, level: 1 });
      const first = await newPlace();

      await t.step("the first start unpacks and answers", async () => {
        const { code, stdout, stderr } = await run(first, ["version"]);
        assertEquals([code, stderr], [0, ""]);
        assertMatch(stdout, /\d+\.\d+\.\d+/);
        assertEquals([...Deno.readDirSync(first.work)], []);
      });

      await t.step("what is unpacked belongs to the user alone", () => {
        const folder = first.unpacked();
        for (const path of [folder, `${folder}/deno`, `${folder}/lb.js`]) {
          assertEquals(permissionsOf(path), 0o700, path);
        }
      });

      await t.step("no package was fetched", () => {
        const cache = `${first.unpacked()}/deno_dir`;
        for (const { name, isDirectory } of Deno.readDirSync(cache)) {
          if (isDirectory) assertEquals([...Deno.readDirSync(`${cache}/${name}`)], [], name);
        }
      });

      await t.step("the second start uses the same files", async () => {
        const deno = `${first.unpacked()}/deno`;
        const before = Deno.statSync(deno).ino;
        assertEquals((await run(first, ["version"])).code, 0);
        assertEquals(Deno.statSync(deno).ino, before);
      });

      await t.step("a damaged program and a damaged runtime are replaced", async () => {
        const folder = first.unpacked();
        const script = await Deno.readTextFile(`${folder}/lb.js`);
        await Deno.writeTextFile(`${folder}/lb.js`, "throw 1;".padEnd(script.length));
        await Deno.truncate(`${folder}/deno`, 1000);
        const { code, stderr } = await run(first, ["version"]);
        assertEquals([code, stderr], [0, ""]);
        assertEquals(await Deno.readTextFile(`${folder}/lb.js`), script);
      });

      await t.step("arguments and exit code pass through", async () => {
        const { code, stderr } = await run(first, ["no such 'command'", ""]);
        assertEquals(code, 2);
        assertStringIncludes(stderr, "no such 'command'");
      });

      await t.step("several first starts at once do not disturb each other", async () => {
        const place = await newPlace();
        const outcomes = await Promise.all([1, 2, 3].map(() => run(place, ["version"])));
        for (const { code, stderr } of outcomes) assertEquals([code, stderr], [0, ""]);
        const names = [...Deno.readDirSync(place.unpacked())].map(({ name }) => name);
        assertEquals(names.filter((name) => name !== "deno_dir").sort(), ["deno", "lb.js"]);
      });

      await t.step("a cache folder that others may read is not used", async () => {
        const place = await newPlace();
        const shared = `${place.home}/.cache/lb`;
        await Deno.mkdir(shared, { recursive: true });
        await Deno.chmod(shared, 0o755);
        const { code } = await run(place, ["version"], { TMPDIR: place.home });
        assertEquals(code, 0);
        assertEquals([...Deno.readDirSync(shared)], []);
        const other = [...Deno.readDirSync(place.home)].map(({ name }) => name);
        assert(other.some((name) => /^lb-\d+$/.test(name)), other.join());
      });

      await t.step("with no folder to unpack into it says what to set", async () => {
        const place = await newPlace();
        const nowhere = `${place.home}/file`;
        await Deno.writeTextFile(nowhere, "");
        const env = { HOME: nowhere, TMPDIR: nowhere, XDG_CACHE_HOME: nowhere };
        const { code, stderr } = await run(place, ["version"], env);
        assertEquals(code, 1);
        assertMatch(
          stderr,
          /^lb: no folder to unpack into: set XDG_CACHE_HOME to one with [\d.]+ MiB/,
        );
      });

      await t.step("it balances requests, and SIGTERM ends it with code 0", async () => {
        const place = await newPlace();
        const backend = Deno.serve(
          { hostname: "127.0.0.1", port: 0, onListen() {} },
          (request) => new Response(`backend saw ${new URL(request.url).pathname}`),
        );
        const port = freePort();
        const process = command(place, [
          "http-l7",
          "--listen",
          `127.0.0.1:${port}`,
          "--backend",
          `http://127.0.0.1:${backend.addr.port}`,
        ]).spawn();
        const output = process.output();
        const client = Deno.createHttpClient({});
        try {
          await waitForPort(port);
          for (let i = 0; i < 20; i++) {
            const response = await fetch(`http://127.0.0.1:${port}/path/${i}`, { client });
            assertEquals(await response.text(), `backend saw /path/${i}`);
          }
        } finally {
          client.close();
          process.kill("SIGTERM");
        }
        const { code, signal, stderr } = await output;
        await backend.shutdown();
        assertEquals([code, signal], [0, null], new TextDecoder().decode(stderr));
      });
    } finally {
      await Deno.remove(root, { recursive: true });
    }
  },
});
