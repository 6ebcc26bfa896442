/**
 * A balancer with its listeners, as the program runs it.
 *
 * @module
 */
import { formatHostPort, parseListenAddress } from "../common/address.ts";
import { describeError } from "../common/errors.ts";
import { VERSION } from "../common/version.ts";
import { AdminServer, type AdminSubject } from "../control/admin.ts";
import type { RunTimeChanges } from "../control/run_time_changes.ts";
import type { Server, ShutdownOptions, StartOptions } from "../load_balancer/options.ts";
import { getLogger } from "../observe/logger.ts";
import { CommandError } from "./command.ts";
import type { Endpoint, HandedOver } from "./endpoints.ts";
import type { HandoverParts } from "./handover.ts";
import { HANDOVER_FORMAT, type HandoverState } from "./handover_channel.ts";
import type { ServerValues } from "./server_options.ts";
import { toShutdown } from "./server_values.ts";

/** What serving needs of a balancer. */
export interface ServedBalancer extends AdminSubject {
  /** Begins to listen. */
  start(address: string, options?: StartOptions): Promise<Server>;
  /** Makes the changes of the process before. */
  applyChanges(changes: RunTimeChanges): void;
  /** What it knows of its backends. */
  collectKnowledge(): unknown;
  /** Goes on with what the process before knew. */
  applyKnowledge(knowledge: unknown): void;
  /** Ends it in order. */
  close(options?: ShutdownOptions): Promise<void>;
}

/** Something that listens, and can give another descriptor of its socket. */
interface Open {
  readonly endpoint: Endpoint;
  readonly addr: Deno.Addr;
  share(): number;
}

const log = getLogger("cli");

/** A balancer that listens. */
export class Running implements HandoverParts {
  readonly #balancer: ServedBalancer;
  readonly #open: Open[] = [];
  #admin: AdminServer | undefined;
  /** How many changes another process has been told of. */
  #told = 0;

  private constructor(balancer: ServedBalancer) {
    this.#balancer = balancer;
  }

  /**
   * Opens the listeners.
   *
   * @throws {CommandError} When one cannot be opened.
   */
  static async start(
    balancer: ServedBalancer,
    values: ServerValues,
    endpoints: readonly Endpoint[],
  ): Promise<Running> {
    const running = new Running(balancer);
    try {
      for (const endpoint of endpoints) {
        if (endpoint.role === "admin") running.#startAdmin(endpoint, values);
        else await running.#listen(endpoint);
      }
    } catch (error) {
      await running.end(toShutdown(values));
      throw error;
    }
    return running;
  }

  #startAdmin(endpoint: Endpoint, values: ServerValues): void {
    let admin: AdminServer;
    try {
      admin = this.#admin = new AdminServer(this.#balancer, {
        address: parseListenAddress(endpoint.address),
        file: endpoint.file,
        openMetrics: values["admin-open-metrics"] ?? false,
      });
    } catch (error) {
      throw cannotListen(endpoint, error);
    }
    this.#open.push({ endpoint, addr: admin.addr, share: () => admin.share() });
    log.info("the admin listener is open", { addr: formatAddr(admin.addr) });
  }

  async #listen(endpoint: Endpoint): Promise<void> {
    const { address, file } = endpoint;
    let server: Server;
    try {
      server = await this.#balancer.start(address, file === undefined ? {} : { file });
    } catch (error) {
      throw cannotListen(endpoint, error);
    }
    this.#open.push({ endpoint, addr: server.addr, share: () => server.share() });
    const { name, management } = this.#balancer;
    log.info("listening", {
      addr: formatAddr(server.addr),
      balancer: name,
      backends: management.listBackends().length,
      routes: management.routeCount,
      version: VERSION,
      pid: Deno.pid,
    });
  }

  *share(): Generator<number> {
    for (const open of this.#open) yield open.share();
  }

  state(fds: readonly number[]): HandoverState {
    const { name, management } = this.#balancer;
    this.#told = management.changeCount;
    return {
      format: HANDOVER_FORMAT,
      balancer: name,
      sockets: this.#open.map((open, i) => describeSocket(open, fds[i]!)),
      changes: management.collectChanges(),
      knowledge: this.#balancer.collectKnowledge(),
    };
  }

  /** Calls `tell` with what has changed since {@linkcode state}, and with what still changes; freeing it ends that. */
  follow(tell: (changes: RunTimeChanges) => void): Disposable {
    const { management } = this.#balancer;
    const look = () => {
      const { changeCount } = management;
      if (changeCount === this.#told) return;
      tell(management.collectChanges(this.#told));
      this.#told = changeCount;
    };
    look();
    return { [Symbol.dispose]: management.onChange(look) };
  }

  /** Finishes what is under way; the admin listener, unless another process has it, says so until the end. */
  async end(options: ShutdownOptions): Promise<void> {
    this.#admin?.drain();
    if (options.passedOn) {
      await Promise.all([this.#balancer.close(options), this.#admin?.shutdown(true)]);
      return;
    }
    await this.#balancer.close(options);
    await this.#admin?.shutdown();
  }
}

function describeSocket({ endpoint, addr }: Open, fd: number): HandedOver {
  const { role, key, file = fileOf(addr, endpoint.address) } = endpoint;
  return { role, key, fd, ...(file === undefined ? {} : { file }) };
}

/** The file of a socket that was bound here. */
function fileOf(addr: Deno.Addr, address: string): string | undefined {
  return addr.transport === "unix" && !address.startsWith("fd:") ? addr.path : undefined;
}

function cannotListen({ key }: Endpoint, error: unknown): CommandError {
  return new CommandError(`cannot listen on ${key}: ${describeError(error)}`, { cause: error });
}

function formatAddr(addr: Deno.Addr): string {
  if ("hostname" in addr) return formatHostPort(addr.hostname, addr.port);
  return "path" in addr ? `unix:${addr.path}` : addr.transport;
}
