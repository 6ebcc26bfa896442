/**
 * Changes of the configuration of running balancers: HTTP balancers over `POST /lb/add` and its kin, gRPC balancers
 * over `lb.LoadBalancer`.
 *
 * @module
 */
import { Client, credentials, type ServiceDefinition } from "@grpc/grpc-js";
import { LB_PROTO } from "../../lib/grpc/protos.ts";
import { loadProto } from "../../lib/grpc/services/definitions.ts";
import { ScriptError } from "../script.ts";

/** How long one change may take, in milliseconds. */
const CHANGE_MS = 10_000;

/** What a change is answered with, as far as it is used. */
type Answer = Readonly<Record<string, unknown>>;

/** Changes of one balancer. */
export interface Manager {
  /** Puts a backend into the default pool; its id. */
  addBackend(addr: string): Promise<string>;
  /** Gives it another weight. */
  setWeight(id: string, weight: number): Promise<void>;
  /** Adds a route to a backend for something that nobody asks for; the id of the route. */
  addRoute(addr: string, number: number): Promise<string>;
  /** Takes a route out. */
  removeRoute(id: string): Promise<void>;
  /** Picks a backend no more. */
  drain(id: string): Promise<void>;
  /** Takes a backend out. */
  removeBackend(id: string): Promise<void>;
  /** Ends its connections. */
  close(): void;
}

/** Over HTTP. */
export class HttpManager implements Manager {
  readonly #origin: string;

  /** @param port The port of the balancer on loopback. */
  constructor(port: number) {
    this.#origin = `http://127.0.0.1:${port}`;
  }

  async #ask(method: string, path: string, body?: unknown): Promise<Answer> {
    const response = await fetch(this.#origin + path, {
      method,
      signal: AbortSignal.timeout(CHANGE_MS),
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }),
    });
    const text = await response.text();
    if (!response.ok) throw new ScriptError(`${method} ${path}: ${response.status} ${text}`);
    return text === "" ? {} : JSON.parse(text);
  }

  async addBackend(addr: string): Promise<string> {
    return String((await this.#ask("POST", "/lb/add", { backend_addr: addr })).id);
  }

  async setWeight(id: string, weight: number): Promise<void> {
    await this.#ask("PATCH", `/lb/backends/${id}`, { weight });
  }

  async addRoute(addr: string, number: number): Promise<string> {
    const body = { backend_addr: addr, paths: [`/churn/${number}`] };
    return String((await this.#ask("POST", "/lb/add", body)).route_id);
  }

  async removeRoute(id: string): Promise<void> {
    await this.#ask("DELETE", `/lb/routes/${id}`);
  }

  async drain(id: string): Promise<void> {
    await this.#ask("POST", `/lb/backends/${id}/drain`);
  }

  async removeBackend(id: string): Promise<void> {
    await this.#ask("DELETE", `/lb/backends/${id}`);
  }

  close(): void {
    // `fetch` keeps its connections by itself.
  }
}

/** Over gRPC. */
export class GrpcManager implements Manager {
  readonly #client: Client;
  readonly #methods: ServiceDefinition = loadProto(LB_PROTO).service("lb.LoadBalancer");

  /** @param port The port of the balancer on loopback. */
  constructor(port: number) {
    this.#client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  }

  #call(name: string, request: Answer): Promise<Answer> {
    const { path, requestSerialize, responseDeserialize } = this.#methods[name]!;
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        { deadline: Date.now() + CHANGE_MS },
        (error, response) => {
          if (error !== null) reject(new ScriptError(`${path}: ${error.message}`));
          else resolve(response as Answer);
        },
      );
    });
  }

  async addBackend(addr: string): Promise<string> {
    return String((await this.#call("AddL7", { backend_addr: addr })).id);
  }

  async setWeight(id: string, weight: number): Promise<void> {
    await this.#call("SetWeight", { id, weight });
  }

  async addRoute(addr: string, number: number): Promise<string> {
    const request = { backend_addr: addr, services: [`churn.S${number}`] };
    return String((await this.#call("AddL7", request)).route_id);
  }

  async removeRoute(id: string): Promise<void> {
    await this.#call("Remove", { route_id: id });
  }

  async drain(id: string): Promise<void> {
    await this.#call("Drain", { id });
  }

  async removeBackend(id: string): Promise<void> {
    await this.#call("Remove", { id });
  }

  close(): void {
    this.#client.close();
  }
}
