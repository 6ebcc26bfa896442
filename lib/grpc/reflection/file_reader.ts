/**
 * Reads all files that a backend's services are defined in.
 *
 * @module
 */
import type { FileSummary } from "./file_summary.ts";
import type { Answer, Question } from "./source.ts";

/** Questions that are sent in one call. */
const BATCH = 100;
/** How deep imports are followed where a backend sends each file alone. */
const MAX_DEPTH = 32;
/** The most files, and the most bytes of them, that are read of one backend. */
const MAX_FILES = 2000;
const MAX_BYTES = 16 * 1024 * 1024;

/** How files are read. */
export interface FileReaderOptions {
  /** Asks in one call; one answer to each question. Rejects when the call fails. */
  readonly ask: (questions: readonly Question[]) => Promise<readonly Answer[]>;
  /** Reads a file. Throws when the bytes are none. */
  readonly summarize: (bytes: Uint8Array) => FileSummary;
}

/**
 * The files that define some services, with all that they import, by name. What the backend does not know is
 * left out, and so is what is above 2,000 files or 16 MiB.
 *
 * @throws What `ask` and `summarize` do.
 */
export async function readFiles(
  services: readonly string[],
  { ask, summarize }: FileReaderOptions,
): Promise<Map<string, FileSummary>> {
  const files = new Map<string, FileSummary>();
  const asked = new Set<string>();
  let bytes = 0;
  let questions: Question[] = services.map((name) => ({ type: "symbol", name }));
  for (let depth = 0; questions.length > 0 && depth < MAX_DEPTH; depth++) {
    const wanted = new Set<string>();
    for (let start = 0; start < questions.length; start += BATCH) {
      for (const answer of await ask(questions.slice(start, start + BATCH))) {
        if (answer.type !== "files") continue;
        for (const file of answer.files) {
          const summary = summarize(file);
          if (files.has(summary.name)) continue;
          bytes += file.length;
          if (files.size >= MAX_FILES || bytes > MAX_BYTES) return files;
          files.set(summary.name, summary);
          for (const name of summary.dependencies) wanted.add(name);
        }
      }
    }
    questions = [];
    for (const name of wanted) {
      if (files.has(name) || asked.has(name)) continue;
      asked.add(name);
      questions.push({ type: "file", name });
    }
  }
  return files;
}
