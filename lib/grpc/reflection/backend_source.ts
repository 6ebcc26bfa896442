/**
 * Reflection of one backend, with what it has answered before.
 *
 * @module
 */
import type { LiveBackend } from "../../backend/backend.ts";
import { isInfrastructure } from "../../backend/discovered_routes.ts";
import type { Clock } from "../../common/clock.ts";
import { describeError } from "../../common/errors.ts";
import { getLogger } from "../../observe/logger.ts";
import { callBackend, GrpcCallError } from "../client.ts";
import { GrpcStatus } from "../status.ts";
import { readFiles } from "./file_reader.ts";
import type { FileSummary } from "./file_summary.ts";
import type { ReflectionCodec } from "./messages.ts";
import type { Answer, Question, ReflectionSource } from "./source.ts";

/** v1 first; who does not speak it gets v1alpha, and is asked in that from then on. */
const PATHS = [
  "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
  "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
] as const;

/** Answers that are kept; anybody may ask for any name, so it must end somewhere. */
const MAX_KEPT = 1000;
/** The most bytes of file descriptors that are kept of one backend. */
const MAX_KEPT_BYTES = 16 * 1024 * 1024;
/** How long a backend may take for a batch of files that nobody waits for, in milliseconds. */
const READ_TIMEOUT_MS = 10_000;

const SERVICES: Question = { type: "services" };

const log = getLogger("grpc");

/** How a backend is asked. */
export interface BackendSourceOptions {
  /** Encodes questions. */
  readonly codec: ReflectionCodec;
  /** Watches the time. */
  readonly clock: Clock;
  /** How long a backend may take for one answer, in milliseconds. */
  readonly timeout: number;
  /** How long an answer counts as new, in milliseconds; an older one is still given, and asked for anew beside that. */
  readonly freshFor: number;
  /** Ends what is under way. */
  readonly signal: () => AbortSignal;
  /** Reads a file. Throws when the bytes are none. */
  readonly summarize: (bytes: Uint8Array) => FileSummary;
  /** Told of files that came; `all` when they are all that the backend's services are defined in. */
  readonly onFiles: (source: BackendSource, files: Iterable<FileSummary>, all: boolean) => void;
  /** Told when the list of services is another one than before. */
  readonly onServices: () => void;
}

interface Entry {
  answer: Answer | undefined;
  asked: number;
  pending: Promise<Answer> | undefined;
  bytes: number;
}

/** One backend. */
export class BackendSource implements ReflectionSource {
  /** The backend. */
  readonly backend: LiveBackend;
  readonly #options: BackendSourceOptions;
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;
  #path: 0 | 1 = 0;
  /** The connections that there had been when the services were listed last. */
  #listedAt = -1;
  /** The same for when their files were read, and which services these were. */
  #readAt = -1;
  #read = "";
  #reading = false;

  /** Nothing is asked yet. */
  constructor(backend: LiveBackend, options: BackendSourceOptions) {
    this.backend = backend;
    this.#options = options;
  }

  get label(): string {
    return this.backend.addr;
  }

  /** The services that it listed last, as far as it has; kept while it cannot be reached. */
  get services(): readonly string[] {
    const answer = this.#entries.get(keyOf(SERVICES))?.answer;
    return answer?.type === "services" ? answer.names : [];
  }

  ask(question: Question): Promise<Answer> {
    const { clock, freshFor } = this.#options;
    const entry = this.#entry(question);
    if (
      entry.pending === undefined &&
      (entry.answer === undefined || clock.now() - entry.asked > freshFor)
    ) this.#refresh(question, entry);
    return entry.answer === undefined ? entry.pending! : Promise.resolve(entry.answer);
  }

  /** Asks for the services now, whatever is known of them; an error where there is no answer. */
  list(): Promise<Answer> {
    const entry = this.#entry(SERVICES);
    if (entry.pending === undefined) this.#refresh(SERVICES, entry);
    return entry.pending!;
  }

  #entry(question: Question): Entry {
    const key = keyOf(question);
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      this.#entries.set(key, entry = { answer: undefined, asked: 0, pending: undefined, bytes: 0 });
      this.#forgetOld();
    }
    return entry;
  }

  #refresh(question: Question, entry: Entry): void {
    entry.asked = this.#options.clock.now();
    entry.pending = this.#fetch(question).then((answer) => {
      entry.pending = undefined;
      this.#keep(question, entry, answer);
      return answer;
    });
  }

  #keep(question: Question, entry: Entry, answer: Answer): void {
    const before = entry.answer;
    if (answer.type === "error") {
      // It was given up by us, so it says nothing of the backend.
      if (answer.code === GrpcStatus.Cancelled && before === undefined) return;
      // What is known of a backend stays while it is down, or has no reflection for a while.
      if (
        before !== undefined && before.type !== "error" &&
        (question.type === "services" || !isAnswer(answer.code))
      ) return;
    }
    entry.answer = answer;
    this.#bytes -= entry.bytes;
    entry.bytes = answer.type === "files" ? sizeOf(answer.files) : 0;
    this.#bytes += entry.bytes;
    this.#forgetOld();
    if (answer.type === "files") this.#onFiles(answer.files);
    if (question.type !== "services") return;
    if (answer.type === "services") this.#onListed(answer.names);
    if (JSON.stringify(before) !== JSON.stringify(answer)) this.#options.onServices();
  }

  #forgetOld(): void {
    for (const [key, entry] of this.#entries) {
      if (this.#entries.size <= MAX_KEPT && this.#bytes <= MAX_KEPT_BYTES) return;
      this.#forget(key, entry);
    }
  }

  #forget(key: string, entry: Entry): void {
    if (entry.pending !== undefined) return;
    this.#bytes -= entry.bytes;
    this.#entries.delete(key);
  }

  #onListed(names: readonly string[]): void {
    const { opened } = this.backend.h2;
    if (opened !== this.#listedAt) {
      this.#listedAt = opened;
      // Behind a new connection there may be a new program, with other definitions of the same names.
      for (const [key, entry] of this.#entries) {
        if (key !== keyOf(SERVICES)) this.#forget(key, entry);
      }
    }
    void this.#readFiles(names.filter((name) => !isInfrastructure(name)));
  }

  #onFiles(files: readonly Uint8Array[]): void {
    const { summarize, onFiles } = this.#options;
    try {
      onFiles(this, files.map(summarize), false);
    } catch (error) {
      log.warning("a backend sent no file descriptor", {
        backend: this.label,
        error: describeError(error),
      });
    }
  }

  /** Reads the definitions of all services unless that was done before; nobody waits for it. */
  async #readFiles(services: readonly string[]): Promise<void> {
    const { opened } = this.backend.h2;
    const key = JSON.stringify(services);
    if (this.#reading || (opened === this.#readAt && key === this.#read)) return;
    this.#reading = true;
    const { summarize, onFiles } = this.#options;
    try {
      const files = await readFiles(services, {
        ask: (questions) => this.#call(questions, READ_TIMEOUT_MS),
        summarize,
      });
      this.#readAt = opened;
      this.#read = key;
      onFiles(this, files.values(), true);
    } catch (error) {
      // It is tried again when the services are listed next.
      log.debug("the files of a backend's services were not read", {
        backend: this.label,
        error: describeError(error),
      });
    } finally {
      this.#reading = false;
    }
  }

  async #fetch(question: Question): Promise<Answer> {
    try {
      const [answer] = await this.#call([question], this.#options.timeout);
      return answer!;
    } catch (error) {
      return error instanceof GrpcCallError
        ? failed(error.status, error.message)
        : failed(GrpcStatus.Internal, describeError(error));
    }
  }

  /**
   * Asks in the version that the backend speaks.
   *
   * @throws {GrpcCallError} When the call fails or has not one answer to each question.
   * @throws {Error} When an answer cannot be decoded.
   */
  async #call(questions: readonly Question[], timeout: number): Promise<Answer[]> {
    const { codec, clock, signal } = this.#options;
    const end = clock.now() + timeout;
    const messages = questions.map((question) => codec.encode(question));
    const first = this.#path;
    for (const path of first === 0 ? [0, 1] as const : [1, 0] as const) {
      try {
        const answers = await callBackend(this.backend, {
          path: PATHS[path]!,
          messages,
          timeout: Math.max(1, end - clock.now()),
          clock,
          signal: signal(),
        });
        if (answers.length === messages.length) {
          this.#path = path;
          return answers.map((bytes) => codec.decode(bytes));
        }
        throw new GrpcCallError(
          GrpcStatus.Unknown,
          `${messages.length} questions were asked and ${answers.length} answered`,
        );
      } catch (error) {
        const unknown = error instanceof GrpcCallError && error.status === GrpcStatus.Unimplemented;
        if (!unknown) throw error;
      }
    }
    throw new GrpcCallError(
      GrpcStatus.Unimplemented,
      "it has no reflection, neither v1 nor v1alpha",
    );
  }
}

function keyOf(question: Question): string {
  return JSON.stringify(question);
}

function sizeOf(files: readonly Uint8Array[]): number {
  return files.reduce((sum, { length }) => sum + length, 0);
}

/** Whether an error is what the backend knows, and not that nobody could ask it. */
function isAnswer(code: number): boolean {
  return code === GrpcStatus.NotFound || code === GrpcStatus.InvalidArgument;
}

function failed(code: number, message: string): Answer {
  return { type: "error", code, message };
}
