/**
 * What has changed since somebody last looked.
 *
 * @module
 */
import type { Management } from "./management.ts";
import type { BackendInfo, RouteInfo } from "./model.ts";

/** What a change is about. */
export type Subject =
  | { readonly type: "backend"; readonly info: BackendInfo }
  | { readonly type: "route"; readonly info: RouteInfo };

/** One change. A subject that was removed is shown as it was last. */
export interface Change {
  /** What happened. */
  readonly kind: "added" | "changed" | "removed";
  /** To what. */
  readonly subject: Subject;
}

/** One observer's view. What comes and goes between two looks is never seen, so nothing has to be kept for slow ones. */
export class ChangeFeed {
  readonly #management: Management;
  #known = new Map<string, { readonly text: string; readonly subject: Subject }>();

  /** Makes a view that knows of nothing. */
  constructor(management: Management) {
    this.#management = management;
  }

  /** All changes since the last call; the first call shows everything as added. */
  next(): Change[] {
    const before = this.#known;
    this.#known = new Map();
    const changes: Change[] = [];
    for (const subject of this.#subjects()) {
      const key = `${subject.type} ${subject.info.id}`;
      const text = describe(subject);
      const old = before.get(key);
      before.delete(key);
      this.#known.set(key, { text, subject });
      if (old === undefined) changes.push({ kind: "added", subject });
      else if (old.text !== text) changes.push({ kind: "changed", subject });
    }
    const removed = Array.from(
      before.values(),
      ({ subject }): Change => ({ kind: "removed", subject }),
    );
    return [...removed, ...changes];
  }

  *#subjects(): Iterable<Subject> {
    for (const info of this.#management.listBackends()) yield { type: "backend", info };
    for (const info of this.#management.listRoutes()) yield { type: "route", info };
  }
}

/** Numbers of what is under way are no change, and neither is it that time passes. */
function describe({ type, info }: Subject): string {
  if (type === "route") return JSON.stringify(info);
  const health = { ...info.health, seconds_left: 0 };
  return JSON.stringify({ ...info, in_flight: 0, connections: 0, health });
}
