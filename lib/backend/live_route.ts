/**
 * A route as it lives.
 *
 * @module
 */
import type { Route } from "../route/route.ts";
import type { Pool } from "./pool.ts";

/** A route with what belongs to it at run time. */
export interface LiveRoute {
  /** Stable name, made from the conditions and filters: the same rule has the same id after a restart. */
  readonly id: string;
  /** The rule; its targets are those it was made with, the pool holds those of now. */
  readonly route: Route;
  /** Its targets. */
  readonly pool: Pool;
  /**
   * Whether only backends have asked for it at run time, so that it leaves with its last target; a rule
   * that is given otherwise, before or after that, stays.
   */
  registered: boolean;
  /** Whether nobody has written it: backends were found to have its service. */
  readonly discovered: boolean;
}
