/**
 * The grpc-js server that answers the own services, fed from memory. Loading this module loads grpc-js, so
 * it is imported at the first call.
 *
 * @module
 */
import { Server, ServerCredentials, type UntypedServiceImplementation } from "@grpc/grpc-js";
import type { ServiceDefinition } from "@grpc/grpc-js";
import type { Duplex } from "../../common/duplex.ts";
import { EndableCalls } from "./endable_calls.ts";
import { NodeDuplexAdapter } from "./node_duplex.ts";

/** A service and what answers it. */
export interface OwnService {
  /** What it has. */
  readonly definition: ServiceDefinition;
  /** What answers each method. */
  readonly implementation: UntypedServiceImplementation;
}

/** The largest message that a client may send to an own service, in bytes. */
const MAX_MESSAGE = 1024 * 1024;

/** A running server. */
export class MemoryServer {
  readonly #server: Server;
  readonly #injector: ReturnType<Server["createConnectionInjector"]>;
  readonly #calls = new EndableCalls();

  /** Makes a server of some services. */
  constructor(services: readonly OwnService[]) {
    this.#server = new Server({ "grpc.max_receive_message_length": MAX_MESSAGE });
    for (const { definition, implementation } of services) {
      this.#server.addService(definition, this.#calls.wrap(definition, implementation));
    }
    this.#injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
  }

  /** Serves a connection. */
  accept(duplex: Duplex): void {
    this.#injector.injectConnection(new NodeDuplexAdapter(duplex));
  }

  /**
   * Ends all streams with UNAVAILABLE, those that come from now on included; and calls that wait for something,
   * unless their answer comes within a moment.
   */
  endStreams(): void {
    this.#calls.end();
  }

  /** Ends all connections. */
  close(): void {
    this.#calls.close();
    this.#injector.destroy();
    this.#server.forceShutdown();
  }
}
