/**
 * Names that follow from what they name.
 *
 * @module
 */
import { createHash } from "node:crypto";

/**
 * A short id for a text, e.g. `b-1f3870be274f`: the same text has the same id in every process, so adding a
 * thing twice finds it, and an id stays good after a restart. 48 bits of SHA-256.
 */
export function stableId(prefix: string, text: string): string {
  return `${prefix}-${createHash("sha256").update(text).digest("hex").slice(0, 12)}`;
}
