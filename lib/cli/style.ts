/**
 * Colours, where somebody sees them.
 *
 * @module
 */

/** Marks text for a terminal. */
export interface Style {
  /** What matters most. */
  bold(text: string): string;
  /** What matters least. */
  dim(text: string): string;
  /** What is wrong. */
  red(text: string): string;
}

/**
 * Marks for standard output: none when it is no terminal, or when `NO_COLOR` is set (no-color.org).
 */
export function stdoutStyle(): Style {
  const enabled = Deno.stdout.isTerminal() && !Deno.noColor;
  const mark = (code: number) => (text: string) => enabled ? `\x1b[${code}m${text}\x1b[0m` : text;
  return { bold: mark(1), dim: mark(2), red: mark(31) };
}
