/**
 * Reflection of one backend, with what it has answered before.
 *
 * @module
 */
import type { LiveBackend } from "../../backend/backend.ts";
import type { Clock } from "../../common/clock.ts";
import { describeError } from "../../common/errors.ts";
import { callBackend, GrpcCallError } from "../client.ts";
import { GrpcStatus } from "../status.ts";
import type { ReflectionCodec } from "./messages.ts";
import type { Answer, Question, ReflectionSource } from "./source.ts";

/** v1 first; who does not speak it gets v1alpha. */
const PATHS = [
  "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
  "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
] as const;

/** Answers that are kept; anybody may ask for any name, so it must end somewhere. */
const MAX_KEPT = 1000;
/** The most bytes of file descriptors that are kept of one backend. */
const MAX_KEPT_BYTES = 16 * 1024 * 1024;

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
  /** Told of the files in new answers. */
  readonly onFiles: (source: BackendSource, files: readonly Uint8Array[]) => void;
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
  #path = 0;

  /** Nothing is asked yet. */
  constructor(backend: LiveBackend, options: BackendSourceOptions) {
    this.backend = backend;
    this.#options = options;
  }

  get label(): string {
    return this.backend.addr;
  }

  /** The services that it has listed, as far as it has. */
  get services(): readonly string[] {
    const answer = this.#entries.get(keyOf({ type: "services" }))?.answer;
    return answer?.type === "services" ? answer.names : [];
  }

  ask(question: Question): Promise<Answer> {
    const key = keyOf(question);
    const { clock, freshFor } = this.#options;
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      this.#entries.set(key, entry = { answer: undefined, asked: 0, pending: undefined, bytes: 0 });
      this.#forgetOld();
    }
    if (
      entry.pending === undefined &&
      (entry.answer === undefined || clock.now() - entry.asked > freshFor)
    ) this.#refresh(question, entry);
    return entry.answer === undefined ? entry.pending! : Promise.resolve(entry.answer);
  }

  #refresh(question: Question, entry: Entry): void {
    entry.asked = this.#options.clock.now();
    entry.pending = this.#fetch(question).then((answer) => {
      const before = entry.answer;
      entry.pending = undefined;
      entry.answer = answer;
      this.#bytes -= entry.bytes;
      entry.bytes = answer.type === "files"
        ? answer.files.reduce((sum, { length }) => sum + length, 0)
        : 0;
      this.#bytes += entry.bytes;
      this.#forgetOld();
      if (answer.type === "files") this.#options.onFiles(this, answer.files);
      if (
        question.type === "services" && JSON.stringify(before) !== JSON.stringify(answer)
      ) this.#options.onServices();
      return answer;
    });
  }

  #forgetOld(): void {
    for (const [key, entry] of this.#entries) {
      if (this.#entries.size <= MAX_KEPT && this.#bytes <= MAX_KEPT_BYTES) return;
      if (entry.pending !== undefined) continue;
      this.#bytes -= entry.bytes;
      this.#entries.delete(key);
    }
  }

  async #fetch(question: Question): Promise<Answer> {
    const { codec, clock, timeout } = this.#options;
    const end = clock.now() + timeout;
    const message = codec.encode(question);
    for (let tried = 0;; tried++) {
      try {
        const [answer] = await callBackend(this.backend, {
          path: PATHS[this.#path]!,
          messages: [message],
          timeout: Math.max(1, end - clock.now()),
          clock,
        });
        return answer === undefined
          ? failed(GrpcStatus.Unknown, "the backend gave no answer")
          : codec.decode(answer);
      } catch (error) {
        if (!(error instanceof GrpcCallError)) {
          return failed(GrpcStatus.Internal, describeError(error));
        }
        if (error.status !== GrpcStatus.Unimplemented || tried === PATHS.length - 1) {
          return failed(error.status, error.message);
        }
        this.#path = (this.#path + 1) % PATHS.length;
      }
    }
  }
}

function keyOf(question: Question): string {
  return JSON.stringify(question);
}

function failed(code: number, message: string): Answer {
  return { type: "error", code, message };
}
