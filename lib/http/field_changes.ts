/**
 * Changes of fields that a route asks for, prepared for encoders.
 *
 * @module
 */

/** A field with its name and value as they are written. */
export type FieldPair = readonly [name: string, value: string];

/** Field changes as encoders apply them: what goes, then what comes. */
export interface CompiledChanges {
  /** Names in lower case that are not copied: removed ones and those that are set. */
  readonly drop: ReadonlySet<string>;
  /** Fields that are written, set ones first. */
  readonly write: readonly FieldPair[];
}

/** What {@linkcode compileChanges} takes; a route's `FieldChanges` has this shape. */
export interface ChangeSource {
  /** Names to remove. */
  readonly remove?: readonly string[];
  /** Fields that replace all of the same name. */
  readonly set?: readonly FieldPair[];
  /** Fields that are added beside those of the same name. */
  readonly add?: readonly FieldPair[];
}

/** Prepares changes; `undefined` when there are none. */
export function compileChanges(source: ChangeSource | undefined): CompiledChanges | undefined {
  if (source === undefined) return undefined;
  const set = source.set ?? [];
  const add = source.add ?? [];
  const drop = new Set([...(source.remove ?? []), ...set.map(([name]) => name)].map(lower));
  return drop.size === 0 && add.length === 0 ? undefined : { drop, write: [...set, ...add] };
}

function lower(name: string): string {
  return name.toLowerCase();
}
