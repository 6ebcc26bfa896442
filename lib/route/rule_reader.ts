/**
 * The words of a rule: where they end, and what is quoted in them.
 *
 * @module
 */

import { quote } from "./pattern.ts";

const SPACE = /\s/;

/** Reads a rule from left to right. */
export class RuleReader {
  readonly #text: string;
  #at = 0;
  /** Whether `->` was read. */
  arrow = false;

  /** Begins at the first character. */
  constructor(text: string) {
    this.#text = text;
  }

  /** Where the next character is. */
  get at(): number {
    return this.#at;
  }

  /** Skips white space; `false` at the end. */
  skipSpace(): boolean {
    while (this.#at < this.#text.length && SPACE.test(this.#text[this.#at]!)) this.#at++;
    return this.#at < this.#text.length;
  }

  /** Reads one character if it is next. */
  take(char: string): boolean {
    if (this.#text[this.#at] !== char) return false;
    this.#at++;
    return true;
  }

  /** Reads `->` if it is the next word. */
  takeArrow(): boolean {
    if (!/^->(?:\s|$)/.test(this.#text.slice(this.#at, this.#at + 3))) return false;
    this.#at += 2;
    this.arrow = true;
    return true;
  }

  /** Reads up to white space or `stop` outside quotes. */
  read(stop: string): string {
    let value = "";
    while (this.#at < this.#text.length) {
      const char = this.#text[this.#at]!;
      if (SPACE.test(char) || char === stop) break;
      this.#at++;
      value += char === '"' ? this.#readQuoted() : char;
    }
    return value;
  }

  /** What was read since `start`. */
  since(start: number): string {
    return this.#text.slice(start, this.#at);
  }

  #readQuoted(): string {
    const start = this.#at - 1;
    let value = "";
    while (this.#at < this.#text.length) {
      const char = this.#text[this.#at++]!;
      if (char === '"') return value;
      const next = this.#text[this.#at];
      if (char === "\\" && (next === '"' || next === "\\")) {
        value += next;
        this.#at++;
      } else {
        value += char;
      }
    }
    throw new TypeError(`rule: ${quote(this.#text.slice(start))} has no closing quote`);
  }
}

/** The text in quotes if it would otherwise end early. */
export function quoteWord(text: string, stop = '"'): string {
  const plain = !SPACE.test(text) && !text.includes('"') && !text.includes(stop);
  return plain ? text : `"${text.replace(/["\\]/g, "\\$&")}"`;
}
