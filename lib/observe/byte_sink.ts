/**
 * Where log bytes go: a file that can be rotated, or a standard stream.
 *
 * @module
 */

/** Takes bytes in order. One call at a time; the next one waits for the promise of the last. */
export interface ByteSink {
  /** Writes all the bytes, or rejects; some may have been written then. */
  write(bytes: Uint8Array): Promise<void>;
  /** Ends the sink after what is being written. */
  close(): Promise<void>;
}

/** The part of a file or stream that this module needs. */
interface Writer {
  write(bytes: Uint8Array): Promise<number>;
}

/** Writes everything, since one `write` may be short; returns early only by rejecting. */
async function writeAll(
  writer: Writer,
  bytes: Uint8Array,
  onWritten?: (count: number) => void,
): Promise<void> {
  let offset = 0;
  while (offset < bytes.length) {
    const count = await writer.write(bytes.subarray(offset));
    offset += count;
    onWritten?.(count);
  }
}

/** Log files name clients, so others than owner and group have no business in them. */
const FILE_MODE = 0o640;
const OPEN_OPTIONS: Deno.OpenOptions = { append: true, create: true, mode: FILE_MODE };
const NEWLINE = new Uint8Array([0x0a]);

/** Appends to a file. See {@linkcode fileSink}. */
export class FileSink implements ByteSink {
  /** The file's path, as given. */
  readonly path: string;
  #file: Deno.FsFile;
  #last: Promise<void> = Promise.resolve();
  #torn = false;

  /** Opens the file; throws the runtime's error when that fails. */
  constructor(path: string) {
    this.path = path;
    this.#file = Deno.openSync(path, OPEN_OPTIONS);
  }

  /**
   * Appends the bytes. When an earlier write failed in the middle, they start on a line of their own,
   * so that a full disk costs lines but never joins two.
   */
  write(bytes: Uint8Array): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#torn) {
        await writeAll(this.#file, NEWLINE);
        this.#torn = false;
      }
      let written = 0;
      try {
        await writeAll(this.#file, bytes, (count) => written += count);
      } catch (error) {
        this.#torn = written > 0;
        throw error;
      }
    });
  }

  /**
   * Opens the path again, for log rotation by renaming: what follows goes to the new file. Rejects and
   * keeps the file it has when the path cannot be opened.
   */
  reopen(): Promise<void> {
    return this.#inTurn(async () => {
      const fresh = await Deno.open(this.path, OPEN_OPTIONS);
      this.#file.close();
      this.#file = fresh;
      this.#torn = false;
    });
  }

  /** Closes the file. */
  close(): Promise<void> {
    return this.#inTurn(() => {
      this.#file.close();
      return Promise.resolve();
    });
  }

  /** Runs tasks one after the other, so that `reopen` never closes a file that is written to. */
  #inTurn(task: () => Promise<void>): Promise<void> {
    const run = this.#last.then(task);
    // The caller of the task gets its error; the next task starts either way.
    this.#last = run.catch(() => {});
    return run;
  }
}

/**
 * A sink that appends to a file, which is made with mode 0640 when it does not exist.
 *
 * @throws The runtime's error (`Deno.errors.NotFound`, …) when the file cannot be opened.
 */
export function fileSink(path: string): FileSink {
  return new FileSink(path);
}

/** A sink that writes to standard output, which stays open when the sink is closed. */
export function stdoutSink(): ByteSink {
  return streamSink(Deno.stdout);
}

/** A sink that writes to standard error, which stays open when the sink is closed. */
export function stderrSink(): ByteSink {
  return streamSink(Deno.stderr);
}

function streamSink(stream: Writer): ByteSink {
  return {
    write: (bytes) => writeAll(stream, bytes),
    close: () => Promise.resolve(),
  };
}
