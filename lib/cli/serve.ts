/**
 * Runs a balancer until it is told to end.
 *
 * @module
 */

import { formatHostPort } from "../common/address.ts";
import { describeError } from "../common/errors.ts";
import { VERSION } from "../common/version.ts";
import { AdminServer, type AdminSubject } from "../control/admin.ts";
import type { LoadBalancerOptions, Server, StartOptions } from "../load_balancer/options.ts";
import { AccessLog, FileSink, stdoutSink } from "../observe/access_log.ts";
import { configureLogging, flushLogging, getLogger } from "../observe/logger.ts";
import { CommandError, EXIT } from "./command.ts";
import { UsageError } from "./options.ts";
import {
  adminAddress,
  listenAddresses,
  type ServerValues,
  toLoadBalancerOptions,
} from "./server_options.ts";
import { EndSignals } from "./signals.ts";

/** What serving needs of a balancer. */
export interface ServedBalancer extends AdminSubject {
  /** Begins to listen. */
  start(address: string, options?: StartOptions): Promise<Server>;
  /** Ends it in order. */
  close(): Promise<void>;
}

/** How long the access log may take to be written at the end, in milliseconds. */
const LAST_LINES_MS = 2_000;

const log = getLogger("cli");

/**
 * Makes a balancer, listens and serves until SIGINT or SIGTERM; then finishes what is under way.
 *
 * @param make Makes the balancer of the options that are common to all.
 * @returns The exit code.
 * @throws {UsageError} when the options contradict each other or name what cannot be used.
 * @throws {CommandError} when it cannot listen.
 */
export async function serve(
  values: ServerValues,
  make: (options: LoadBalancerOptions) => ServedBalancer,
): Promise<number> {
  configureLogging({
    level: values["log-level"] ?? "info",
    format: values["log-format"] ?? "text",
  });
  const options = toLoadBalancerOptions(values);
  const access = openAccessLog(values);
  try {
    const balancer = make(access === undefined ? options : { ...options, accessLog: access.log });
    const file = access?.file;
    using signals = new EndSignals(file === undefined ? undefined : () => void reopen(file));
    const running = await Running.start(balancer, values);
    const signal = await signals.asked;
    log.info("shutting down; another signal ends at once", { signal });
    await running.end();
    log.info("ended");
  } finally {
    await access?.close();
    await flushLogging();
  }
  return EXIT.ok;
}

/** A balancer with its listeners. */
class Running {
  readonly #balancer: ServedBalancer;
  #admin: AdminServer | undefined;

  private constructor(balancer: ServedBalancer) {
    this.#balancer = balancer;
  }

  static async start(balancer: ServedBalancer, values: ServerValues): Promise<Running> {
    const running = new Running(balancer);
    try {
      running.#startAdmin(values);
      for (const address of listenAddresses(values)) await running.#listen(address);
    } catch (error) {
      await running.end();
      throw error;
    }
    return running;
  }

  #startAdmin(values: ServerValues): void {
    const address = adminAddress(values);
    if (address === undefined) return;
    try {
      this.#admin = new AdminServer(this.#balancer, {
        address,
        openMetrics: values["admin-open-metrics"] ?? false,
      });
    } catch (error) {
      throw cannotListen(values.admin!, error);
    }
    log.info("the admin listener is open", { addr: formatAddr(this.#admin.addr) });
  }

  async #listen(address: string): Promise<void> {
    let server: Server;
    try {
      server = await this.#balancer.start(address);
    } catch (error) {
      throw cannotListen(address, error);
    }
    const { name, management } = this.#balancer;
    log.info("listening", {
      addr: formatAddr(server.addr),
      balancer: name,
      backends: management.listBackends().length,
      routes: management.routeCount,
      version: VERSION,
    });
  }

  /** Finishes what is under way; the admin listener says so until the end. */
  async end(): Promise<void> {
    this.#admin?.drain();
    await this.#balancer.close();
    await this.#admin?.shutdown();
  }
}

function cannotListen(address: string, error: unknown): CommandError {
  return new CommandError(`cannot listen on ${address}: ${describeError(error)}`, { cause: error });
}

interface OpenAccessLog {
  readonly log: AccessLog;
  /** The file, if it is one. */
  readonly file: FileSink | undefined;
  close(): Promise<void>;
}

function openAccessLog(values: ServerValues): OpenAccessLog | undefined {
  const path = values["access-log"];
  if (path === undefined) {
    if (values["access-log-format"] === undefined) return undefined;
    throw new UsageError("--access-log-format is given without --access-log");
  }
  const file = path === "-" ? undefined : openFile(path);
  const accessLog = new AccessLog({
    format: values["access-log-format"] ?? "json",
    sink: file ?? stdoutSink(),
  });
  return {
    log: accessLog,
    file,
    // A reader of standard output that is stuck must not hold up the end.
    close: async () => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<void>((resolve) => timer = setTimeout(resolve, LAST_LINES_MS));
      await Promise.race([accessLog.close(), late]);
      clearTimeout(timer);
    },
  };
}

function openFile(path: string): FileSink {
  try {
    return new FileSink(path);
  } catch (error) {
    throw new UsageError(`--access-log ${path} cannot be opened: ${describeError(error)}`);
  }
}

async function reopen(file: FileSink): Promise<void> {
  try {
    await file.reopen();
    log.info("the access log was opened again", { path: file.path });
  } catch (error) {
    log.error("the access log could not be opened again; lines go on to the old file", {
      path: file.path,
      error: describeError(error),
    });
  }
}

function formatAddr(addr: Deno.Addr): string {
  if ("hostname" in addr) return formatHostPort(addr.hostname, addr.port);
  return "path" in addr ? `unix:${addr.path}` : addr.transport;
}
