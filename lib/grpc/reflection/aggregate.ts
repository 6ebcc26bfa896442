/**
 * Reflection of everything that the balancer leads to, as if it were one server.
 *
 * @module
 */
import type { LiveBackend } from "../../backend/backend.ts";
import type { Clock } from "../../common/clock.ts";
import { describeError } from "../../common/errors.ts";
import { getLogger } from "../../observe/logger.ts";
import { BackendSource } from "./backend_source.ts";
import { type FileSummary, summarize } from "./file_summary.ts";
import { type LocalSource, notFound } from "./local_source.ts";
import type { ReflectionCodec } from "./messages.ts";
import type { Answer, Question, ReflectionSource } from "./source.ts";

/** How long a backend may take for one answer, in milliseconds. */
const TIMEOUT_MS = 2000;
/** How long an answer counts as new, in milliseconds. */
const FRESH_MS = 5000;

const log = getLogger("grpc");

/** What an {@linkcode AggregatedReflection} is made of. */
export interface AggregateOptions {
  /** All backends of now. */
  readonly backends: () => Iterable<LiveBackend>;
  /** The balancer's own services, which hide those of backends. */
  readonly local: LocalSource;
  /** Encodes questions. */
  readonly codec: ReflectionCodec;
  /** Watches the time. */
  readonly clock: Clock;
  /** Told when a backend lists other services than before. */
  readonly onServices: () => void;
  /** How long a backend may take for one answer, in milliseconds. Default 2,000. */
  readonly timeout?: number;
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
  readonly #reported = new Set<string>();

  /** Nobody is asked yet. */
  constructor(options: AggregateOptions) {
    this.#options = options;
  }

  /**
   * Answers a question.
   *
   * @param last Who answered the question before: the files that it refers to are its own.
   */
  async ask(question: Question, last?: ReflectionSource): Promise<Attributed> {
    const backends = this.#refresh();
    switch (question.type) {
      case "services":
        return { answer: await this.#list(backends), source: undefined };
      case "extension_numbers":
        return { answer: await this.#numbers(question, backends), source: undefined };
      case "file":
      case "symbol":
      case "extension":
        return await this.#find(question, backends, last);
    }
  }

  /** Waits until every backend has been asked for its services, or has not answered in time. */
  async refresh(): Promise<void> {
    await Promise.all(this.#refresh().map((source) => source.ask({ type: "services" })));
  }

  /** The services of each backend, as far as they are known by now. */
  *listed(): Iterable<readonly [LiveBackend, readonly string[]]> {
    for (const source of this.#refresh()) yield [source.backend, source.services];
  }

  /** What differs between backends, as far as it is known by now. */
  conflicts(): FileConflict[] {
    this.#refresh();
    const conflicts: FileConflict[] = [];
    for (const [file, shapes] of this.#shapes) {
      if (new Set(shapes.values()).size < 2) continue;
      conflicts.push({ file, backends: Array.from(shapes.keys(), ({ label }) => label) });
    }
    return conflicts;
  }

  /** The sources of the backends of now; those of others are forgotten. */
  #refresh(): BackendSource[] {
    const { backends, codec, clock, onServices, timeout = TIMEOUT_MS } = this.#options;
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
          onFiles: (source, files) => this.#compare(source, files),
          onServices,
        }),
      );
    }
    for (const backend of gone) {
      const source = this.#sources.get(backend)!;
      this.#sources.delete(backend);
      for (const [file, shapes] of this.#shapes) {
        if (shapes.delete(source) && shapes.size === 0) this.#shapes.delete(file);
      }
    }
    return [...this.#sources.values()];
  }

  async #list(backends: readonly BackendSource[]): Promise<Answer> {
    const question = { type: "services" } as const;
    const answers = await Promise.all(
      [this.#options.local, ...backends].map((source) => source.ask(question)),
    );
    const names = answers.flatMap((answer) => answer.type === "services" ? answer.names : []);
    return { type: "services", names: [...new Set(names)].sort() };
  }

  /** Different backends may know different extensions of one message. */
  async #numbers(
    question: Extract<Question, { type: "extension_numbers" }>,
    backends: readonly BackendSource[],
  ): Promise<Answer> {
    const answers = await Promise.all(
      [this.#options.local, ...backends].map((source) => source.ask(question)),
    );
    const known = answers.filter((answer) => answer.type === "extension_numbers");
    if (known.length === 0) return notFound(question.name);
    const numbers = new Set(known.flatMap(({ numbers }) => numbers));
    return {
      type: "extension_numbers",
      name: question.name,
      numbers: [...numbers].sort((a, b) => a - b),
    };
  }

  async #find(
    question: Exclude<Question, { type: "services" | "extension_numbers" }>,
    backends: readonly BackendSource[],
    last: ReflectionSource | undefined,
  ): Promise<Attributed> {
    // A file name means what whoever named it means by it: two backends may have one of the same name.
    const first = question.type === "symbol" ? undefined : last;
    for (const source of [first, this.#options.local]) {
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

  #compare(source: BackendSource, files: readonly Uint8Array[]): void {
    if (this.#sources.get(source.backend) !== source) return;
    for (const bytes of files) {
      let summary: FileSummary;
      try {
        summary = summarize(bytes);
      } catch (error) {
        log.warning("a backend sent no file descriptor", {
          backend: source.label,
          error: describeError(error),
        });
        continue;
      }
      const { name, shape } = summary;
      let shapes = this.#shapes.get(name);
      if (shapes === undefined) this.#shapes.set(name, shapes = new Map());
      shapes.set(source, shape);
      if (new Set(shapes.values()).size > 1 && !this.#reported.has(name)) {
        this.#reported.add(name);
        log.warning("backends define a file differently", {
          file: name,
          backends: Array.from(shapes.keys(), ({ label }) => label).join(", "),
        });
      }
    }
  }
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
