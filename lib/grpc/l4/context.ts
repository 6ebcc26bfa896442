/**
 * What the connections of one gRPC listener at layer 4 share.
 *
 * @module
 */
import type { Connect } from "../../backend/connector.ts";
import type { Pool } from "../../backend/pool.ts";
import type { H2Options } from "../../http/h2/options.ts";
import type { GrpcContext } from "../l7/context.ts";

/** What the connections of one gRPC listener at layer 4 share. */
export interface TunnelContext {
  /** What calls need that are answered here, and what calls are recorded with. */
  readonly calls: GrpcContext;
  /** Which backends may have a connection. */
  readonly pool: Pool;
  /** Opens connections. */
  readonly connect: Connect;
  /** How long opening one may take, SETTINGS of the backend included, in milliseconds. */
  readonly connectTimeout: number;
  /** What backends are granted. */
  readonly h2: Partial<H2Options>;
  /** Certificates in PEM that are trusted beside the well-known ones. */
  readonly caCerts: readonly string[] | undefined;
  /** Whether clients are hashed by their address. */
  readonly hashed?: boolean;
  /** Tells that backends have come, gone or changed; returns what ends the telling. */
  readonly onBackends: (listener: () => void) => () => void;
}
