/**
 * The help of a command, made from its table of options.
 *
 * @module
 */

import type { OptionTable } from "./options.ts";

/** What the help of a command says beside its options. */
export interface HelpText {
  /** The command line in short, e.g. `lb http-l7 [options]`. */
  readonly usage: string;
  /** What the command does, in sentences. */
  readonly description: string;
  /** Command lines that work, each with a word on it. */
  readonly examples: readonly (readonly [line: string, meaning: string])[];
}

/** Longest line, so that the help fits a terminal of usual width. */
const WIDTH = 100;
/** Where the descriptions begin. */
const COLUMN = 36;

/** The help of a command as text. */
export function formatHelp(text: HelpText, table: OptionTable): string {
  const blocks = [`Usage: ${text.usage}`, wrap(text.description, WIDTH).join("\n")];
  const sections = Map.groupBy(Object.entries(table), ([, option]) => option.section);
  for (const [section, options] of sections) {
    const lines = options.map(([name, { placeholder, negated, repeatable, help }]) => {
      const written = `--${negated ? "no-" : ""}${name}${placeholder ? ` ${placeholder}` : ""}`;
      return formatEntry(written, repeatable ? `${help}; may be repeated` : help);
    });
    blocks.push([`${section}:`, ...lines].join("\n"));
  }
  blocks.push(["Help:", formatEntry("-h, --help", "show this text")].join("\n"));
  const examples = text.examples.flatMap(([line, meaning]) => [`  # ${meaning}`, `  ${line}`]);
  if (examples.length > 0) blocks.push(["Examples:", ...examples].join("\n"));
  return blocks.join("\n\n");
}

/** An entry of a list: a name and what it means, which begins on its own line if the name is long. */
export function formatEntry(name: string, meaning: string, column = COLUMN): string {
  const [first = "", ...rest] = wrap(meaning, WIDTH - column);
  const start = `  ${name}`;
  const indent = " ".repeat(column);
  const head = start.length < column ? [start.padEnd(column) + first] : [start, indent + first];
  return [...head, ...rest.map((line) => indent + line)].join("\n");
}

/** Breaks text between words; a word that is too long has a line for itself. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
