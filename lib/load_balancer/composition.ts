/**
 * What a balancer is made of, to whatever listens for it.
 *
 * @module
 */
import type { Backend } from "../backend/backend.ts";
import type { Knowledge } from "../backend/knowledge.ts";
import type { Scheme } from "../common/address.ts";
import type { Duplex } from "../common/duplex.ts";
import type { ErrorCode } from "../common/errors.ts";
import type { ManagementApi } from "../control/http_api.ts";
import type { Management } from "../control/management.ts";
import type { RunTimeChanges } from "../control/run_time_changes.ts";
import type { Served } from "../mux/listener.ts";
import type { ListenerMetrics, Metrics } from "../observe/metrics.ts";
import type { Route } from "../route/route.ts";
import type { LoadBalancerOptions } from "./options.ts";

/** What differs between the kinds of balancers. */
export interface Kind {
  /** The name unless another is given. */
  readonly name: string;
  /** Whether requests or connections are balanced. */
  readonly layer: "l4" | "l7";
  /** The protocol of addresses that name none. */
  readonly scheme: Scheme;
  /** The share of the descriptor limit that client connections may take. */
  readonly descriptorShare: number;
  /** What a connection above the limit is told. */
  readonly busy: ((reason: ErrorCode) => Uint8Array) | undefined;
}

/** Makes what serves the connections of a listener. */
export type Acceptor = (metrics: ListenerMetrics) => (duplex: Duplex) => Served;

/** What a balancer is made of, as far as all of them need it. */
export interface Composition {
  /** What differs between the kinds of balancers. */
  readonly kind: Pick<Kind, "descriptorShare" | "busy">;
  /** The options as given. */
  readonly options: LoadBalancerOptions;
  /** The name in logs and metrics. */
  readonly name: string;
  /** The counters. */
  readonly metrics: Metrics;
  /** The use cases of the management API. */
  readonly management: Management;
  /** Answers management requests. */
  readonly managementApi: ManagementApi;
  /** Puts a backend into the default pool; its id. */
  addBackend(backend: Backend): string;
  /** Adds a route; its id. */
  addRoute(route: Route): string;
  /** Begins to watch backends for a listener that is about to open; bounded in time. */
  start(): Promise<void>;
  /** A listener for which that was done is no more. */
  stop(): Promise<void>;
  /** Says that nothing is served any more, because we are about to end; or the truth again. */
  setLeaving(leaving: boolean): void;
  /** Sends away whoever has a stream of the own services open. */
  endStreams(): void;
  /**
   * Makes the changes of run time that the process before has collected.
   *
   * @throws {TypeError} When one cannot be made.
   */
  applyChanges(changes: RunTimeChanges): void;
  /** What is known of the backends now. */
  collectKnowledge(): Knowledge;
  /** Goes on with what the process before has collected, as far as it can be understood. */
  applyKnowledge(knowledge: unknown): void;
  /** Whether an address is that of a proxy in front, which stands for many clients. */
  readonly isTrusted: (address: string) => boolean;
  /** Closes connections to backends that nobody uses now, but for one to each. */
  shedIdle(): void;
  /** Called when there is no descriptor for a connection to a backend. */
  onExhausted: (() => void) | undefined;
  /** Ends the own services and closes what is pooled and unused. */
  close(): Promise<void>;
}
