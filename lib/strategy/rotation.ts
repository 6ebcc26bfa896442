/**
 * Taking turns while candidates come and go.
 *
 * @module
 */

/**
 * Where a rotation over `items` begins so that it goes on where one over `old` stands, at `start`: with the
 * first item from there that is still among them; at 0 if none is.
 */
export function resumeAt<T>(items: readonly T[], old: readonly T[], start: number): number {
  const indexes = new Map(items.map((item, index) => [item, index]));
  for (let turn = 0; turn < old.length; turn++) {
    const index = indexes.get(old[(start + turn) % old.length]!);
    if (index !== undefined) return index;
  }
  return 0;
}
