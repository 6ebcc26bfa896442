/**
 * Reflection of everything that the balancer leads to, as if it were one server.
 *
 * @module
 */
import type { LiveBackend } from "../../backend/backend.ts";
import type { Clock } from "../../common/clock.ts";
import { getLogger } from "../../observe/logger.ts";
import { BackendSource } from "./backend_source.ts";
import { type FileSummary, SummaryCache } from "./file_summary.ts";
import { type LocalSource, notFound } from "./local_source.ts";
import type { ReflectionCodec } from "./messages.ts";
import type { Answer, Question, ReflectionSource } from "./source.ts";

/** How long a backend may take for one answer, in milliseconds. */
const TIMEOUT_MS = 2000;
/** How long an answer counts as new, in milliseconds. */
const FRESH_MS = 5000;
/** Files whose summaries are kept. */
const MAX_SUMMARIES = 4000;
/** What protobuf brings itself differs from one version of it to another, and means the same. */
const WELL_KNOWN = "google/protobuf/";

const SERVICES: Question = { type: "services" };

const log = getLogger("grpc");

/** What an {@linkcode AggregatedReflection} is made of. */
export interface AggregateOptions {
  /** All backends of now. */
  readonly backends: () => Iterable<LiveBackend>;
  /** Encodes questions. */
  readonly codec: ReflectionCodec;
  /** Watches the time. */
  readonly clock: Clock;
  /** How long a backend may take for one answer, in milliseconds. Default 2,000. */
  readonly timeout?: number;
}

/** Who asks. */
export interface Asker {
  /** The balancer's own services, which hide those of backends. */
  readonly local: LocalSource;
  /** Who answered the question before: the files that it refers to are its own. */
  readonly last?: ReflectionSource | undefined;
}

/** An answer and who gave it. */
export interface Attributed {
  /** The answer. */
  readonly answer: Answer;
  /** Who knew it. */
  readonly source: ReflectionSource | undefined;
}

/** Definitions of one file that differ. */
export interface FileConflict {
  /** The name of the file. */
  readonly file: string;
  /** Addresses of backends. */
  readonly backends: readonly string[];
}

/** Asks all backends at once and waits for none longer than it must. */
export class AggregatedReflection {
  readonly #options: AggregateOptions;
  readonly #sources = new Map<LiveBackend, BackendSource>();
  /** By file name, what each backend defines in it. */
  readonly #shapes = new Map<string, Map<BackendSource, string>>();
  readonly #summaries = new SummaryCache(MAX_SUMMARIES);
  /** The files that are known to be defined differently. */
  readonly #conflicting = new Set<string>();
  readonly #listeners = new Set<() => void>();
  #given = new AbortController();

  /** Nobody is asked yet. */
  constructor(options: AggregateOptions) {
    this.#options = options;
  }

  /**
   * Answers a question.
   *
   * @param asker What its asker sees beside the backends.
   */
  async ask(question: Question, asker: Asker): Promise<Attributed> {
    const backends = this.#refresh();
    // Conflicts come to light only where the files of all are known.
    if (question.type !== "services") { for (const source of backends) void source.ask(SERVICES); }
    switch (question.type) {
      case "services":
        return { answer: await list([asker.local, ...backends]), source: undefined };
      case "extension_numbers":
        return { answer: await numbers(question, [asker.local, ...backends]), source: undefined };
      case "file":
      case "symbol":
      case "extension":
        return await find(question, backends, asker);
    }
  }

  /** Waits until every backend has been asked for its services, or has not answered in time. */
  async refresh(): Promise<void> {
    await Promise.all(this.#refresh().map((source) => source.ask(SERVICES)));
  }

  /**
   * Asks one backend for its services now, whatever is known of them; `undefined` for one that is none of
   * the backends of now.
   */
  async list(backend: LiveBackend): Promise<Answer | undefined> {
    this.#refresh();
    return await this.#sources.get(backend)?.list();
  }

  /**
   * Calls `listener` when a backend lists other services than before. It must not throw.
   *
   * @returns Ends it.
   */
  onServices(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Gives up all that is being asked; what is asked afterwards is asked anew. */
  cancel(): void {
    this.#given.abort();
    this.#given = new AbortController();
  }

  /** The services of each backend, as far as they are known by now. */
  *listed(): Iterable<readonly [LiveBackend, readonly string[]]> {
    for (const source of this.#refresh()) yield [source.backend, source.services];
  }

  /** What differs between backends, as far as it is known by now. */
  conflicts(): FileConflict[] {
    this.#refresh();
    return Array.from(this.#conflicting, (file) => ({
      file,
      backends: Array.from(this.#shapes.get(file)!.keys(), ({ label }) => label),
    }));
  }

  /** The sources of the backends of now; those of others are forgotten. */
  #refresh(): BackendSource[] {
    const { backends, codec, clock, timeout = TIMEOUT_MS } = this.#options;
    const gone = new Set(this.#sources.keys());
    for (const backend of backends()) {
      if (gone.delete(backend) || this.#sources.has(backend)) continue;
      this.#sources.set(
        backend,
        new BackendSource(backend, {
          codec,
          clock,
          timeout,
          freshFor: FRESH_MS,
          signal: () => this.#given.signal,
          summarize: (bytes) => this.#summaries.summarize(bytes),
          onFiles: (source, files, all) => this.#take(source, files, all),
          onServices: () => {
            for (const listener of [...this.#listeners]) listener();
          },
        }),
      );
    }
    for (const backend of gone) {
      const source = this.#sources.get(backend)!;
      this.#sources.delete(backend);
      for (const [file, shapes] of this.#shapes) {
        if (shapes.delete(source)) this.#compare(file, shapes);
      }
    }
    return [...this.#sources.values()];
  }

  #take(source: BackendSource, files: Iterable<FileSummary>, all: boolean): void {
    if (this.#sources.get(source.backend) !== source) return;
    const names = new Set<string>();
    for (const { name, shape } of files) {
      if (name.startsWith(WELL_KNOWN)) continue;
      names.add(name);
      let shapes = this.#shapes.get(name);
      if (shapes === undefined) this.#shapes.set(name, shapes = new Map());
      if (shapes.get(source) === shape) continue;
      shapes.set(source, shape);
      this.#compare(name, shapes);
    }
    if (!all) return;
    for (const [file, shapes] of this.#shapes) {
      if (!names.has(file) && shapes.delete(source)) this.#compare(file, shapes);
    }
  }

  #compare(file: string, shapes: ReadonlyMap<BackendSource, string>): void {
    if (shapes.size === 0) this.#shapes.delete(file);
    if (new Set(shapes.values()).size < 2) {
      if (this.#conflicting.delete(file)) log.info("backends define a file alike again", { file });
      return;
    }
    if (this.#conflicting.has(file)) return;
    this.#conflicting.add(file);
    log.warning("backends define a file differently", {
      file,
      backends: Array.from(shapes.keys(), ({ label }) => label).join(", "),
    });
  }
}

async function list(sources: readonly ReflectionSource[]): Promise<Answer> {
  const answers = await Promise.all(sources.map((source) => source.ask(SERVICES)));
  const names = answers.flatMap((answer) => answer.type === "services" ? answer.names : []);
  return { type: "services", names: [...new Set(names)].sort() };
}

/** Different backends may know different extensions of one message. */
async function numbers(
  question: Extract<Question, { type: "extension_numbers" }>,
  sources: readonly ReflectionSource[],
): Promise<Answer> {
  const answers = await Promise.all(sources.map((source) => source.ask(question)));
  const known = answers.filter((answer) => answer.type === "extension_numbers");
  if (known.length === 0) return notFound(question.name);
  const numbers = new Set(known.flatMap(({ numbers }) => numbers));
  return {
    type: "extension_numbers",
    name: question.name,
    numbers: [...numbers].sort((a, b) => a - b),
  };
}

async function find(
  question: Exclude<Question, { type: "services" | "extension_numbers" }>,
  backends: readonly BackendSource[],
  { local, last }: Asker,
): Promise<Attributed> {
  // A file name means what whoever named it means by it: two backends may have one of the same name.
  const first = question.type === "symbol" ? undefined : last;
  for (const source of [first, local]) {
    const found = source === undefined ? undefined : await attempt(source, question);
    if (found !== undefined) return found;
  }
  const { name } = question;
  const likely = backends.filter(({ services }) =>
    services.some((service) => name === service || name.startsWith(`${service}.`))
  );
  return await firstOf(likely, question) ?? await firstOf(backends, question) ??
    { answer: notFound(name), source: undefined };
}

async function attempt(
  source: ReflectionSource,
  question: Question,
): Promise<Attributed | undefined> {
  const answer = await source.ask(question);
  return answer.type === "files" && answer.files.length > 0 ? { answer, source } : undefined;
}

/** The first that knows it; those that are slow or do not know it are not waited for. */
async function firstOf(
  sources: readonly ReflectionSource[],
  question: Question,
): Promise<Attributed | undefined> {
  const attempts = sources.map(async (source) => {
    const found = await attempt(source, question);
    if (found === undefined) throw NOT_HERE;
    return found;
  });
  try {
    return await Promise.any(attempts);
  } catch (error) {
    if (error instanceof AggregateError) return undefined;
    throw error;
  }
}

/** What an attempt ends with that found nothing; nobody sees it. */
const NOT_HERE = new Error("not here");
