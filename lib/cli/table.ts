/**
 * Tables of text for people.
 *
 * @module
 */

/** A column of a table. */
export interface Column {
  /** What stands above it. */
  readonly title: string;
  /** Numbers stand at the right, text at the left, which is the default. */
  readonly align?: "left" | "right";
}

/** A table with two blanks between columns, each as wide as its widest cell, and a line per row. */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
): string {
  const widths = columns.map(({ title }, i) =>
    Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0))
  );
  const format = (cells: readonly string[]) =>
    columns.map(({ align }, i) => {
      const cell = cells[i] ?? "";
      return align === "right" ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!);
    }).join("  ").trimEnd();
  return [columns.map(({ title }) => title), ...rows].map(format).join("\n");
}
