/**
 * The grpc-js server that answers the own services, fed from memory. Loading this module loads grpc-js, so
 * it is imported at the first call.
 *
 * @module
 */
import { Server, ServerCredentials, type UntypedServiceImplementation } from "@grpc/grpc-js";
import type { ServiceDefinition } from "@grpc/grpc-js";
import type { Duplex } from "../../common/duplex.ts";
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

  /** Makes a server of some services. */
  constructor(services: readonly OwnService[]) {
    this.#server = new Server({ "grpc.max_receive_message_length": MAX_MESSAGE });
    for (const { definition, implementation } of services) {
      this.#server.addService(definition, implementation);
    }
    this.#injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
  }

  /** Serves a connection. */
  accept(duplex: Duplex): void {
    this.#injector.injectConnection(new NodeDuplexAdapter(duplex));
  }

  /** Ends all connections. */
  close(): void {
    this.#injector.destroy();
    this.#server.forceShutdown();
  }
}
