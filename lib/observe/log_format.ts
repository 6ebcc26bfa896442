/**
 * The two formats of the log: text for people, JSON lines for machines. Pure functions.
 *
 * @module
 */

import { describeError } from "../common/errors.ts";
import { escapeControls, quoteIfNeeded, quoteJson } from "./escape.ts";

/** Levels of the log, from the least to the most serious. */
export type LogLevel = "debug" | "info" | "warning" | "error";

/** Values beside a message. `undefined` ones are left out, errors are described with their causes. */
export type LogFields = Readonly<Record<string, unknown>>;

/** One entry of the log. */
export interface LogEntry {
  /** Milliseconds since the epoch. */
  readonly time: number;
  /** How serious it is. */
  readonly level: string;
  /** Which part of the program speaks. */
  readonly category: string;
  /** A fixed sentence; what varies belongs into the fields. */
  readonly message: string;
  /** What varies. */
  readonly fields: LogFields;
}

/** Longest value in UTF-16 units, so that no peer can fill the log with one header. */
export const MAX_VALUE_LENGTH = 2048;

/** Keys that every JSON line has; a field of the same name gets `_` behind it. */
const RESERVED = new Set(["time", "level", "logger", "message"]);

function shorten(text: string): string {
  return text.length <= MAX_VALUE_LENGTH
    ? text
    : `${text.slice(0, MAX_VALUE_LENGTH)}… (${text.length - MAX_VALUE_LENGTH} more)`;
}

/** A field's value as text; the flag says whether it is JSON already, and not a string. */
function renderValue(value: unknown): { text: string; json: boolean } {
  switch (typeof value) {
    case "string":
      return { text: shorten(value), json: false };
    case "number":
      return { text: String(value), json: Number.isFinite(value) };
    case "boolean":
      return { text: String(value), json: true };
    case "object":
      return value === null ? { text: "null", json: true } : renderObject(value);
    default:
      return { text: shorten(String(value)), json: false };
  }
}

function renderObject(value: object): { text: string; json: boolean } {
  if (value instanceof Error) return { text: shorten(describeError(value)), json: false };
  try {
    const text = JSON.stringify(value);
    // A cut JSON text is no JSON any more, so a long one goes into a string; so does a Date.
    if (text !== undefined && text.length <= MAX_VALUE_LENGTH && !text.startsWith('"')) {
      return { text, json: true };
    }
    return { text: shorten(text?.startsWith('"') ? JSON.parse(text) : String(text)), json: false };
  } catch {
    // Circular, or holds a bigint: the type's own words are all there is.
    return { text: shorten(String(value)), json: false };
  }
}

function cleanKey(key: string): string {
  return key.replace(/[^A-Za-z0-9_.-]/g, "_");
}

/** `2026-11-22T08:07:00.123Z warning health: backend is down backend=127.0.0.1:80 error="no route"` */
export function formatLogText(entry: LogEntry): string {
  let line = `${new Date(entry.time).toISOString()} ${entry.level.padEnd(7)} ` +
    `${escapeControls(entry.category)}: ${escapeControls(entry.message)}`;
  for (const [key, value] of Object.entries(entry.fields)) {
    if (value !== undefined) line += ` ${cleanKey(key)}=${quoteIfNeeded(renderValue(value).text)}`;
  }
  return line;
}

/** One JSON object with `time`, `level`, `logger`, `message` and the fields, on one line. */
export function formatLogJson(entry: LogEntry): string {
  let line = `{"time":"${new Date(entry.time).toISOString()}","level":${quoteJson(entry.level)},` +
    `"logger":${quoteJson(entry.category)},"message":${quoteJson(entry.message)}`;
  for (const [key, value] of Object.entries(entry.fields)) {
    if (value === undefined) continue;
    const { text, json } = renderValue(value);
    const name = RESERVED.has(key) ? `${key}_` : cleanKey(key);
    line += `,"${name}":${json ? escapeControls(text) : quoteJson(text)}`;
  }
  return `${line}}`;
}
