/**
 * Installs the conformance tools of others at fixed versions into `.cache/bin` and runs the conformance
 * tests. Without Go it says so, and the tests that need a tool are left out.
 *
 * @module
 */
const TOOLS = [
  { name: "h2spec", from: "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible" },
  { name: "grpcurl", from: "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3" },
] as const;

const root = new URL("../", import.meta.url);
const bin = new URL(".cache/bin/", root);

async function run(command: string, args: string[], env: Record<string, string> = {}) {
  const { success } = await new Deno.Command(command, {
    args,
    env,
    cwd: root,
    stdout: "inherit",
    stderr: "inherit",
  }).output();
  return success;
}

function exists(url: URL): boolean {
  try {
    return Deno.statSync(url).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function install(): Promise<void> {
  for (const { name, from } of TOOLS) {
    // The version is in the name of a mark beside the program, so that another one is installed anew.
    const mark = new URL(`${name}.${from.slice(from.indexOf("@") + 1)}`, bin);
    if (exists(new URL(name, bin)) && exists(mark)) continue;
    try {
      if (await run("go", ["install", from], { GOBIN: bin.pathname })) {
        await Deno.writeTextFile(mark, `${from}\n`);
      } else {
        console.error(`left out: ${name}, because "go install ${from}" failed`);
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      console.error(`left out: ${name}, because Go is not installed`);
    }
  }
}

if (import.meta.main) {
  await Deno.mkdir(bin, { recursive: true });
  await install();
  // Tests elsewhere that use one of the tools find it on the path.
  const PATH = `${bin.pathname}:${Deno.env.get("PATH") ?? ""}`;
  const tests = ["tests/conformance", "tests/net/grpc_services_test.ts"];
  if (!await run(Deno.execPath(), ["test", "-A", ...tests], { PATH })) Deno.exit(1);
}
