/**
 * One runnable file for systems with a POSIX shell: Deno and the bundled program behind a shell
 * script, for where neither Deno nor a registry can be reached.
 *
 * The first start unpacks both, compressed with gzip, into the user's cache folder; later starts use
 * them again after a look at their size and checksum. The shell then becomes Deno (`exec`), so that
 * signals and the exit code need no go-between.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { PROJECT_ROOT } from "./module_graph.ts";
import { mebibytes, readable, ScriptError } from "./script.ts";

/** Settings of {@linkcode buildPortable}. */
export interface PortableOptions {
  /** Path of the file to make. */
  output: string;
  /** Level of gzip, 1 (fast) to 9 (small). Default 9. */
  level?: number;
}

/** One of the two files inside, as the shell script has to know it. */
export interface Part {
  /** The name that it is unpacked to. */
  name: string;
  /** Bytes of the unpacked file. */
  size: number;
  /** First number that POSIX `cksum` prints of the unpacked file. */
  checksum: number;
  /** Bytes that it takes compressed. */
  packedSize: number;
}

/** What {@linkcode renderStub} writes into the shell script. */
export interface StubOptions {
  /** Name of the folder inside the cache folder: differs where any content differs. */
  id: string;
  /** The program. It follows the script at once. */
  program: Part;
  /** Deno. It follows the program. */
  runtime: Part;
  /** Unstable features that the program needs, by the names of Deno's flags. */
  unstable: readonly string[];
}

/** The parameters of Deno that keep it from looking for anything outside the two files. */
const DENO_FLAGS = ["--no-npm", "--no-remote", "--no-config", "--no-lock", "--no-check", "-A"];

/** Digits that the length of the script takes inside the script: it must not change that length. */
const OFFSET_DIGITS = 8;

/**
 * Writes the shell script in front of the compressed files.
 *
 * A folder of the cache is used only if it belongs to the user and nobody else may write to it, so
 * that no other user can slip in a program. Files appear under their names by rename, so that two
 * starts at once do not disturb each other.
 */
export function renderStub({ id, program, runtime, unstable }: StubOptions): string {
  const flags = [...DENO_FLAGS, ...unstable.map((feature) => `--unstable-${feature}`)].join(" ");
  const script = `#!/bin/sh
# lb with its own copy of Deno. Unpacks itself once into \${XDG_CACHE_HOME:-~/.cache}/lb.
set -u
mask=$(umask)
umask 077
self=$0
[ -f "$self" ] || self=$(command -v -- "$0")
case $self in /*) ;; *) self=$PWD/$self ;; esac
offset=${"0".repeat(OFFSET_DIGITS)}

# is_private DIR: a folder of this user, no link, closed to others
is_private() {
  [ -d "$1" ] && [ ! -h "$1" ] || return 1
  # shellcheck disable=SC2012,SC2046
  set -- $(ls -ldn "$1" 2>/dev/null)
  case \${1-} in drwx------*) [ "\${3-}" = "$(id -u)" ] ;; *) return 1 ;; esac
}

# is_whole FILE SIZE
is_whole() { [ -f "$1" ] && [ "$(wc -c <"$1" | tr -d ' ')" = "$2" ]; }

# matches FILE CHECKSUM
matches() { [ "$(cksum <"$1" | cut -d ' ' -f 1)" = "$2" ]; }

# unpack FILE SIZE CHECKSUM OFFSET LENGTH: through a file of its own name, renamed when it is whole
unpack() {
  part=$1.$$
  trap 'rm -f "$part"; exit 143' HUP INT TERM
  if tail -c "+$4" "$self" | head -c "$5" | gzip -dc >"$part" 2>/dev/null &&
    is_whole "$part" "$2" && matches "$part" "$3" && chmod 700 "$part" && mv -f "$part" "$1"; then
    trap - HUP INT TERM
    return 0
  fi
  rm -f "$part"
  trap - HUP INT TERM
  return 1
}

# prepare DIR: true when the program can be started from there
prepare() {
  mkdir -p "$1" 2>/dev/null && is_private "$1" || return 1
  if ! is_whole "$1/${program.name}" ${program.size} || ! matches "$1/${program.name}" ${program.checksum}; then
    unpack "$1/${program.name}" ${program.size} ${program.checksum} "$offset" ${program.packedSize} || return 1
  fi
  if ! is_whole "$1/${runtime.name}" ${runtime.size}; then
    # what a start that was cut off left behind a day ago
    find "$1" -name '*.[0-9]*' -type f -mtime +0 -exec rm -f {} + 2>/dev/null
    unpack "$1/${runtime.name}" ${runtime.size} ${runtime.checksum} "$((offset + ${program.packedSize}))" ${runtime.packedSize} || return 1
    # in some folders no program may be started
    "$1/${runtime.name}" --version >/dev/null 2>&1 || { rm -f "$1/${runtime.name}"; return 1; }
  fi
}

start() {
  DENO_DIR=\${DENO_DIR:-$1/deno_dir} DENO_NO_PACKAGE_JSON=1 DENO_NO_UPDATE_CHECK=1
  # what takes the place of the program is this file, which may have been replaced by then
  LB_PROGRAM=$self
  export DENO_DIR DENO_NO_PACKAGE_JSON DENO_NO_UPDATE_CHECK LB_PROGRAM
  dir=$1
  shift
  umask "$mask"
  exec "$dir/${runtime.name}" run ${flags} "$dir/${program.name}" "$@"
}

offset=\${offset#"\${offset%%[!0]*}"}
for base in "\${XDG_CACHE_HOME:-}/lb" "\${HOME:-}/.cache/lb" "\${TMPDIR:-/tmp}/lb-$(id -u)"; do
  case $base in /lb | /.cache/lb) continue ;; esac
  mkdir -p "\${base%/*}" 2>/dev/null
  if mkdir "$base" 2>/dev/null || is_private "$base"; then
    if prepare "$base/${id}"; then start "$base/${id}" "$@"; fi
  fi
done
echo "lb: no folder to unpack into: set XDG_CACHE_HOME to one with ${
    mebibytes(program.size + runtime.size)
  } free, where programs may be started" >&2
exit 1
`;
  const offset = String(new TextEncoder().encode(script).length + 1).padStart(OFFSET_DIGITS, "0");
  return script.replace("0".repeat(OFFSET_DIGITS), offset);
}

/**
 * The checksum that POSIX `cksum` prints: CRC-32 with the polynomial 0x04C11DB7, unreflected, over the
 * bytes and then their count (IEEE Std 1003.1-2017, `cksum`).
 */
export function cksum(bytes: Uint8Array): number {
  let crc = 0;
  const step = (byte: number): void => {
    crc = (crc << 8) ^ CRC_TABLE[(crc >>> 24) ^ byte]!;
  };
  for (let i = 0; i < bytes.length; i++) step(bytes[i]!);
  for (let length = bytes.length; length > 0; length = Math.floor(length / 256)) step(length & 255);
  return ~crc >>> 0;
}

const CRC_TABLE = Int32Array.from({ length: 256 }, (_, index) => {
  let crc = index << 24;
  for (let bit = 0; bit < 8; bit++) crc = crc < 0 ? (crc << 1) ^ 0x04c11db7 : crc << 1;
  return crc;
});

/** The program as one JavaScript file. */
async function bundle(): Promise<Uint8Array> {
  const output = await Deno.makeTempFile({ prefix: "lb-bundle-", suffix: ".js" });
  try {
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["bundle", "--platform=deno", "--quiet", `--output=${output}`, "main.ts"],
      cwd: PROJECT_ROOT,
      env: { NO_COLOR: "1" },
      stdout: "null",
    }).output();
    if (!success) throw new ScriptError(`deno bundle failed\n${readable(stderr)}`);
    return await Deno.readFile(output);
  } finally {
    await Deno.remove(output);
  }
}

/** The unstable features that the project's configuration switches on. */
async function unstableFeatures(): Promise<string[]> {
  const config: { unstable?: string[] } = JSON.parse(
    await Deno.readTextFile(`${PROJECT_ROOT}/deno.json`),
  );
  return config.unstable ?? [];
}

/**
 * Makes the runnable file out of this very Deno and the program.
 *
 * @returns The size of the file in bytes.
 * @throws {ScriptError} On Windows, which has no POSIX shell, and if the program cannot be bundled.
 */
export async function buildPortable(
  { output, level = 9 }: PortableOptions,
): Promise<{ size: number }> {
  if (Deno.build.os === "windows") {
    throw new ScriptError(
      "--portable needs a POSIX shell; on Windows use --target with DENORT_BIN",
    );
  }
  const [programBytes, runtimeBytes, unstable] = await Promise.all([
    bundle(),
    Deno.readFile(Deno.execPath()),
    unstableFeatures(),
  ]);
  const pack = (name: string, bytes: Uint8Array): { part: Part; packed: Uint8Array } => {
    const packed = gzipSync(bytes, { level });
    const part = { name, size: bytes.length, checksum: cksum(bytes), packedSize: packed.length };
    return { part, packed };
  };
  const program = pack("lb.js", programBytes);
  const runtime = pack("deno", runtimeBytes);
  const hash = createHash("sha256").update(programBytes).update(runtimeBytes);
  const stub = renderStub({
    id: hash.update(unstable.join()).digest("hex").slice(0, 16),
    program: program.part,
    runtime: runtime.part,
    unstable,
  });
  const file = Buffer.concat([Buffer.from(stub), program.packed, runtime.packed]);
  await Deno.writeFile(output, file, { mode: 0o755 });
  await Deno.chmod(output, 0o755); // the mode above is only for a file that was not there
  return { size: file.length };
}
