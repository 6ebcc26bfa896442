/**
 * Lists what `deno compile` embedded in an executable.
 *
 * ```sh
 * deno run -A scripts/embedded.ts dist/lb
 * ```
 *
 * The data section, as `libs/lib/standalone/binary.rs` and `cli/rt/binary.rs` of denoland/deno write
 * and read it, all integers little-endian:
 *
 * ```text
 * magic "d3n0l4nd" | u64 length, metadata (JSON) | u64 length, npm packages | three tables of remote
 * modules | u64 length, tree of files (JSON) | u64 length, bytes of the files | magic "d3n0l4nd"
 * ```
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** A file inside an executable. */
export interface EmbeddedFile {
  /** Path inside the executable, with `/` as separator. */
  path: string;
  /** Bytes of the file itself. */
  size: number;
  /** Bytes that belong to it besides: its transpiled form, source map and analysis. */
  derivedSize: number;
}

/** What an executable carries. */
export interface Embedded {
  /** The module that is run, as a path inside the executable. */
  entrypoint: string;
  /** Unstable features that were switched on. */
  unstable: string[];
  /** Names of the permissions that are granted without limits. */
  permissions: string[];
  files: EmbeddedFile[];
  /** The npm packages as `name@version`, sorted. */
  npmPackages: string[];
  /** Bytes of all files together, stored once where several are equal. */
  dataSize: number;
}

/** The part of the metadata that is read here. */
interface Metadata {
  entrypoint_key: string;
  permissions: Record<string, unknown>;
  unstable_config: { features: string[] };
}

/** Offset and length in the bytes of the files. */
type Range = [offset: number, length: number];

type Entry =
  | { Dir: { n: string; e: Entry[] } }
  | { File: { n: string; o: Range; m?: Range; s?: Range; c?: Range } }
  | { Symlink: { n: string } };

const MAGIC = "d3n0l4nd";
const TREE_START = "[{";
const NPM_FOLDER = ".deno_compile_node_modules/localhost/";

/** A length of the file at hand, or -1 where there is no room for that many bytes. */
function lengthAt(data: Buffer, offset: number): number {
  if (offset < 0 || offset + 8 > data.length) return -1;
  const length = Number(data.readBigUInt64LE(offset));
  return length <= data.length - offset - 8 ? length : -1;
}

/** The JSON value with a length in front of it, if there is one. */
function jsonAt(data: Buffer, offset: number): { value: unknown; end: number } | undefined {
  const length = lengthAt(data, offset);
  if (length < 2 || !"{[".includes(String.fromCharCode(data[offset + 8]!))) return undefined;
  const end = offset + 8 + length;
  try {
    return { value: JSON.parse(data.toString("utf8", offset + 8, end)), end };
  } catch {
    return undefined; // bytes that only look like a length and a bracket
  }
}

/** Where the metadata begins: after the magic, which the code of the runtime contains too. */
function findMetadata(data: Buffer): { value: Metadata; end: number } | undefined {
  for (let at = data.indexOf(MAGIC); at >= 0; at = data.indexOf(MAGIC, at + 1)) {
    const json = jsonAt(data, at + MAGIC.length);
    if (json !== undefined && "entrypoint_key" in Object(json.value)) {
      return { value: json.value as Metadata, end: json.end };
    }
  }
  return undefined;
}

/**
 * The tree of files. Between it and the metadata are npm package ids and remote modules; it is the
 * first JSON list behind them that has its own length in front.
 */
function findTree(data: Buffer, from: number): { value: Entry[]; end: number } | undefined {
  for (let at = data.indexOf(TREE_START, from); at >= 0; at = data.indexOf(TREE_START, at + 1)) {
    const json = jsonAt(data, at - 8);
    if (json !== undefined) return { value: json.value as Entry[], end: json.end };
  }
  return undefined;
}

function* walk(entries: readonly Entry[], folder: string): Generator<EmbeddedFile> {
  for (const entry of entries) {
    if ("Dir" in entry) yield* walk(entry.Dir.e, `${folder}${entry.Dir.n}/`);
    else if ("File" in entry) {
      const { n, o, m, s, c } = entry.File;
      const derivedSize = [m, s, c].reduce((sum, range) => sum + (range?.[1] ?? 0), 0);
      yield { path: folder + n, size: o[1], derivedSize };
    } else yield { path: folder + entry.Symlink.n, size: 0, derivedSize: 0 };
  }
}

/** The `name@version` of the package that a path belongs to; a second copy's folder ends in `_1`. */
function npmPackageOf(path: string): string | undefined {
  if (!path.startsWith(NPM_FOLDER)) return undefined;
  const parts = path.slice(NPM_FOLDER.length).split("/");
  const name = parts[0]!.startsWith("@") ? parts.splice(0, 2).join("/") : parts.shift();
  return `${name}@${parts[0]?.split("_")[0]}`;
}

/**
 * Reads what an executable carries.
 *
 * @param bytes The whole executable.
 * @throws {SyntaxError} If `deno compile` did not make it.
 */
export function parseEmbedded(bytes: Uint8Array): Embedded {
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const metadata = findMetadata(data);
  if (metadata === undefined) {
    throw new SyntaxError("no data section: the file was not made by `deno compile`");
  }
  const tree = findTree(data, metadata.end);
  if (tree === undefined) throw new SyntaxError("the data section has no tree of files");
  const files = [...walk(tree.value, "")];
  const packages = new Set(files.map(({ path }) => npmPackageOf(path)));
  const { entrypoint_key, permissions, unstable_config } = metadata.value;
  return {
    entrypoint: entrypoint_key,
    unstable: unstable_config.features,
    permissions: Object.keys(permissions)
      .filter((name) => name.startsWith("allow_") && isUnlimited(permissions[name])).sort(),
    files,
    npmPackages: [...packages].filter((name) => name !== undefined).sort(),
    dataSize: lengthAt(data, tree.end),
  };
}

/** An empty list grants all; `null` grants nothing. */
const isUnlimited = (granted: unknown): boolean => Array.isArray(granted) && granted.length === 0;

/** Reads what an executable on disk carries; see {@linkcode parseEmbedded}. */
export async function readEmbedded(path: string): Promise<Embedded> {
  return parseEmbedded(await Deno.readFile(path));
}

if (import.meta.main) {
  const path = Deno.args[0];
  if (path === undefined || Deno.args.length > 1) {
    console.error("usage: deno run -A scripts/embedded.ts EXECUTABLE");
    Deno.exit(2);
  }
  try {
    const embedded = await readEmbedded(path);
    for (const { path, size, derivedSize } of embedded.files) {
      console.log(`${String(size).padStart(9)} ${String(derivedSize).padStart(9)}  ${path}`);
    }
    console.log(`${embedded.files.length} files, ${embedded.dataSize} bytes`);
    console.log(`npm: ${embedded.npmPackages.join(" ") || "none"}`);
  } catch (error) {
    console.error(`${path}: ${error instanceof Error ? error.message : error}`);
    Deno.exit(1);
  }
}
