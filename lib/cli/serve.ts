/**
 * Runs a balancer until it is told to end.
 *
 * @module
 */

import { describeError } from "../common/errors.ts";
import type { LoadBalancerOptions } from "../load_balancer/options.ts";
import { AccessLog, FileSink, stdoutSink } from "../observe/access_log.ts";
import { configureLogging, flushLogging, getLogger } from "../observe/logger.ts";
import { takePassedSockets } from "./activation.ts";
import { CommandError, EXIT } from "./command.ts";
import { findEndpoints } from "./endpoints.ts";
import { FaultNet } from "./fault_net.ts";
import type { Successor } from "./handover.ts";
import { UsageError } from "./options.ts";
import { removePidFile, writePidFile } from "./pid_file.ts";
import { Predecessor } from "./predecessor.ts";
import { Running, type ServedBalancer } from "./running.ts";
import type { ServerValues } from "./server_options.ts";
import { toLoadBalancerOptions, toShutdown, toWanted } from "./server_values.ts";
import { notifyManager } from "./service_manager.ts";
import { EndSignals } from "./signals.ts";
import { Succession } from "./succession.ts";

export type { ServedBalancer } from "./running.ts";

/** How long the access log may take to be written at the end, in milliseconds. */
const LAST_LINES_MS = 2_000;

const log = getLogger("cli");

/**
 * Makes a balancer, listens and serves until SIGINT or SIGTERM, or until another process has taken its place after
 * SIGUSR2; then finishes what is under way. A fault of our own that no exchange catches is logged and counted, and
 * the serving goes on.
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
    using _net = new FaultNet(balancer.metrics);
    const file = access?.file;
    const succession = new Succession();
    using signals = new EndSignals({
      onHangup: file === undefined ? undefined : () => void reopen(file),
      onHandover: () => succession.begin(),
    });
    const running = await begin(balancer, values);
    succession.enable(running);
    await Promise.race([signals.asked, succession.done]);
    using successor = await succession.settle();
    if (successor === undefined) await end(running, values, await signals.asked);
    else await leave(running, values, successor, signals);
    log.info("ended");
  } finally {
    await access?.close();
    await flushLogging();
  }
  return EXIT.ok;
}

/** Takes the place of the process before, if there is one, and listens. */
async function begin(balancer: ServedBalancer, values: ServerValues): Promise<Running> {
  const predecessor = await Predecessor.meet();
  const wanted = toWanted(values);
  const inherited = { passed: takePassedSockets(), handedOver: predecessor?.state.sockets ?? [] };
  const { endpoints, unwanted } = findEndpoints(wanted, inherited);
  if (predecessor !== undefined) {
    if (predecessor.state.balancer !== balancer.name) {
      throw new CommandError(
        `the process before is a ${predecessor.state.balancer}, whose place a ${balancer.name} cannot take`,
      );
    }
    balancer.applyChanges(predecessor.state.changes);
    balancer.applyKnowledge(predecessor.state.knowledge);
    predecessor.drop(unwanted);
  }
  const running = await Running.start(balancer, values, endpoints);
  const pidFile = values["pid-file"];
  if (pidFile !== undefined) {
    try {
      writePidFile(pidFile);
    } catch (error) {
      await running.end(toShutdown(values));
      throw new UsageError(`--pid-file ${pidFile} cannot be written: ${describeError(error)}`);
    }
  }
  if (predecessor === undefined) notifyManager("READY=1");
  else await predecessor.ready((changes) => balancer.applyChanges(changes));
  return running;
}

/** Ends in two steps: first nobody is to come any more, then nobody is let in. */
async function end(running: Running, values: ServerValues, signal: Deno.Signal): Promise<void> {
  const { delay, idle } = toShutdown(values);
  log.info("shutting down; another signal ends at once", {
    signal,
    ...(delay === 0 ? {} : { delay_ms: delay }),
  });
  notifyManager("STOPPING=1");
  await running.end({ delay, idle });
  if (values["pid-file"] !== undefined) removePidFile(values["pid-file"]);
}

/** Ends with a successor: it has the listeners, and is told of what still changes here. */
async function leave(
  running: Running,
  values: ServerValues,
  successor: Successor,
  signals: EndSignals,
): Promise<void> {
  signals.expectEnd();
  notifyManager(`MAINPID=${successor.pid}`);
  log.info("handed over; finishing what is under way, a signal ends that at once", {
    successor: successor.pid,
  });
  using _changes = running.follow((changes) => void successor.tell(changes));
  await running.end({ idle: toShutdown(values).idle, passedOn: true });
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
