/**
 * Logging. The parts of lb only ask for a logger; whoever runs them decides where the lines go: an
 * application that uses lb as a library through its own LogTape configuration (category `lb`), the
 * command line through {@linkcode configureLogging}. Without either, nothing is written.
 *
 * @module
 */

import { configureSync, getLogger as getTapeLogger, type Logger as Tape } from "@logtape/logtape";
import { stderrSink } from "./byte_sink.ts";
import { formatLogJson, formatLogText, type LogFields, type LogLevel } from "./log_format.ts";

export type { LogFields, LogLevel } from "./log_format.ts";

const ROOT_CATEGORY = "lb";

/**
 * Writes messages of one part of lb.
 *
 * A message is a fixed sentence and is never read as a template; what varies, above all what a peer
 * sent, belongs into the fields, where it is quoted and escaped.
 */
export class Logger {
  readonly #tape: Tape;

  /** Makes a logger; {@linkcode getLogger} is the usual way to get one. */
  constructor(category: string) {
    this.#tape = getTapeLogger([ROOT_CATEGORY, category]);
  }

  /** Whether anybody reads this level, for callers whose fields are dear to make. */
  isEnabled(level: LogLevel): boolean {
    return this.#tape.isEnabledFor(level);
  }

  /** For those who look for a fault. */
  debug(message: string, fields?: LogFields): void {
    this.#emit("debug", message, fields);
  }

  /** Worth knowing in daily use. */
  info(message: string, fields?: LogFields): void {
    this.#emit("info", message, fields);
  }

  /** Something is wrong, and service goes on. */
  warning(message: string, fields?: LogFields): void {
    this.#emit("warning", message, fields);
  }

  /** Something failed that somebody must see to. */
  error(message: string, fields?: LogFields): void {
    this.#emit("error", message, fields);
  }

  #emit(level: LogLevel, message: string, fields: LogFields | undefined): void {
    if (!this.#tape.isEnabledFor(level)) return;
    // `emit` takes the message as it is; the level methods would read braces in it as a template.
    this.#tape.emit({
      level,
      message: [message],
      rawMessage: message,
      properties: { ...fields },
      timestamp: Date.now(),
    });
  }
}

/** The logger of a part of lb, e.g. `getLogger("health")`. */
export function getLogger(category: string): Logger {
  return new Logger(category);
}

/** What {@linkcode configureLogging} needs. */
export interface LoggingOptions {
  /** The least serious level that is written. */
  readonly level: LogLevel;
  /** `text` for people, `json` for one JSON object per line. */
  readonly format: "text" | "json";
  /**
   * Called with each line, without a line end, in the turn of whoever logs: it must be quick and must
   * not throw. Lines go to standard error, without waiting for it, unless this is given.
   */
  readonly write?: (line: string) => void;
}

/**
 * Most text that waits for a standard error that nobody reads, in UTF-16 units. What comes on top is
 * dropped and counted in a line of its own, because a log must never stop the proxy.
 */
export const MAX_PENDING_LOG = 1024 * 1024;

/** Who has not read for so long is not going to. */
const STUCK_MS = 1000;
/** A write that is not stuck is over by then. */
const LAST_WRITE_MS = 20;

/** Writes lines to standard error in the background. */
class StderrWriter {
  readonly #sink = stderrSink();
  readonly #encoder = new TextEncoder();
  readonly #describeLoss: (count: number) => string;
  #lines: string[] = [];
  #size = 0;
  #lost = 0;
  #writing: Promise<void> | undefined;
  /** When the write under way began, by `performance.now`. */
  #began: number | undefined;

  constructor(describeLoss: (count: number) => string) {
    this.#describeLoss = describeLoss;
  }

  write(line: string): void {
    if (this.#size + line.length > MAX_PENDING_LOG) {
      this.#lost++;
      return;
    }
    this.#lines.push(line);
    this.#size += line.length;
    this.#writing ??= this.#drain();
  }

  async flush(): Promise<void> {
    await this.#writing;
  }

  /**
   * For the end of the process, when nothing asynchronous runs any more. Gives up the lines when the
   * reader is stuck: an exit must not wait for it.
   */
  flushSync(): void {
    if (this.#began !== undefined) {
      if (performance.now() - this.#began > STUCK_MS) return;
      // The write under way has been handed to a thread and cannot be asked after; it must come first.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LAST_WRITE_MS);
    }
    if (this.#lines.length === 0 && this.#lost === 0) return;
    const bytes = this.#takeBytes();
    try {
      for (let offset = 0; offset < bytes.length;) {
        offset += Deno.stderr.writeSync(bytes.subarray(offset));
      }
    } catch {
      // Standard error is gone, and it was the only place to say so.
    }
  }

  async #drain(): Promise<void> {
    // What one turn logs goes out together, and an exit in that turn still finds it all here.
    await Promise.resolve();
    while (this.#lines.length > 0) {
      this.#began = performance.now();
      try {
        await this.#sink.write(this.#takeBytes());
      } catch {
        // Standard error is gone, and it was the only place to say so.
      }
      this.#began = undefined;
    }
    this.#writing = undefined;
  }

  #takeBytes(): Uint8Array {
    if (this.#lost > 0) {
      this.#lines.push(this.#describeLoss(this.#lost));
      this.#lost = 0;
    }
    const text = `${this.#lines.join("\n")}\n`;
    this.#lines = [];
    this.#size = 0;
    return this.#encoder.encode(text);
  }
}

let stderrWriter: StderrWriter | undefined;

/**
 * An exit or an uncaught error leaves no turn for asynchronous writes. The events are only listened
 * to, so the process ends as it would have.
 */
const LAST_MOMENTS = ["unload", "error", "unhandledrejection"] as const;
const flushAtExit = () => {
  tellRest();
  stderrWriter?.flushSync();
};

const flushed = new Set<() => void>();

/** Calls `listener` before the log is flushed, so that it can write what it has kept back. It must not throw. */
export function beforeFlush(listener: () => void): void {
  flushed.add(listener);
}

function tellRest(): void {
  for (const listener of flushed) listener();
}

/**
 * Sets where the log of this process goes. For applications; a later call replaces an earlier one,
 * and with it any LogTape configuration that the process had.
 *
 * @throws `ConfigError` of LogTape when the process had configured sinks there that can only be
 * disposed of asynchronously.
 */
export function configureLogging(options: LoggingOptions): void {
  const format = options.format === "json" ? formatLogJson : formatLogText;
  const previous = stderrWriter;
  let write = options.write;
  let writer: StderrWriter | undefined;
  if (write === undefined) {
    writer = new StderrWriter((count) =>
      format({
        time: Date.now(),
        level: "warning",
        category: `${ROOT_CATEGORY}.logger`,
        message: "log lines were dropped, because standard error was not read in time",
        fields: { count },
      })
    );
    write = (line) => writer!.write(line);
  }
  const writeLine = write;
  configureSync({
    reset: true,
    sinks: {
      lines: (record) =>
        writeLine(format({
          time: record.timestamp,
          level: record.level,
          category: record.category.join("."),
          message: record.message.join(""),
          fields: record.properties,
        })),
    },
    loggers: [
      { category: ROOT_CATEGORY, sinks: ["lines"], lowestLevel: options.level },
      // LogTape speaks of its own troubles here; without an entry it greets on the console.
      { category: ["logtape", "meta"], sinks: ["lines"], lowestLevel: "warning" },
    ],
  });
  previous?.flushSync();
  stderrWriter = writer;
  for (const event of LAST_MOMENTS) {
    // Adding the same listener again changes nothing.
    if (writer === undefined) removeEventListener(event, flushAtExit);
    else addEventListener(event, flushAtExit);
  }
}

/** Resolves once the lines logged so far are written; call it before the process ends. */
export async function flushLogging(): Promise<void> {
  tellRest();
  await stderrWriter?.flush();
}
