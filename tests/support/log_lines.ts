/**
 * What is logged while something happens.
 *
 * @module
 */
import { resetSync } from "@logtape/logtape";
import { configureLogging, flushLogging } from "../../lib/observe/logger.ts";
import type { LogLevel } from "../../lib/observe/log_format.ts";

/** The lines as text, without their time; what was kept back of them is there too. */
export async function linesOf(
  act: () => Promise<void> | void,
  level: LogLevel = "warning",
): Promise<string[]> {
  const lines: string[] = [];
  configureLogging({ level, format: "text", write: (line) => lines.push(line) });
  try {
    await act();
    await flushLogging();
  } finally {
    resetSync();
  }
  return lines.map((line) => line.replace(/^\S+ /, ""));
}
