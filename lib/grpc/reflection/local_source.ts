/**
 * Reflection of the balancer's own services.
 *
 * @module
 */
import { GrpcStatus } from "../status.ts";
import { summarize } from "./file_summary.ts";
import type { Answer, Question, ReflectionSource } from "./source.ts";

/** Answers from descriptors that are at hand. */
export class LocalSource implements ReflectionSource {
  readonly label = "the balancer";
  readonly #services: readonly string[];
  readonly #byFile = new Map<string, Uint8Array>();
  readonly #bySymbol = new Map<string, Uint8Array>();

  /** Serves files, which import nothing, and lists services. */
  constructor(services: readonly string[], files: readonly Uint8Array[]) {
    this.#services = services;
    for (const bytes of files) {
      const { name, symbols } = summarize(bytes);
      this.#byFile.set(name, bytes);
      for (const symbol of symbols) this.#bySymbol.set(symbol, bytes);
    }
  }

  ask(question: Question): Promise<Answer> {
    return Promise.resolve(this.#answer(question));
  }

  #answer(question: Question): Answer {
    switch (question.type) {
      case "services":
        return { type: "services", names: this.#services };
      case "file":
        return answerFile(this.#byFile.get(question.name), question.name);
      case "symbol":
        return answerFile(this.#bySymbol.get(question.name), question.name);
      case "extension_numbers":
        return this.#bySymbol.has(question.name)
          ? { type: "extension_numbers", name: question.name, numbers: [] }
          : notFound(question.name);
      case "extension":
        return notFound(question.name);
    }
  }
}

function answerFile(bytes: Uint8Array | undefined, name: string): Answer {
  return bytes === undefined ? notFound(name) : { type: "files", files: [bytes] };
}

/** Nobody knows it. */
export function notFound(name: string): Answer {
  return {
    type: "error",
    code: GrpcStatus.NotFound,
    message: `no backend that answers defines ${JSON.stringify(name)}`,
  };
}
