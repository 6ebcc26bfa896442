/**
 * grpcurl, where it is installed.
 *
 * @module
 */
import { findTool } from "./tools.ts";

/** What grpcurl printed. */
export interface Printed {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Where grpcurl is, if it is. */
export function findGrpcurl(): string | undefined {
  return findTool("grpcurl");
}

/** Runs grpcurl, without TLS. */
export async function grpcurl(program: string, ...args: readonly string[]): Promise<Printed> {
  const output = await new Deno.Command(program, {
    args: ["-plaintext", "-max-time", "10", ...args],
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return {
    code: output.code,
    out: decoder.decode(output.stdout),
    err: decoder.decode(output.stderr),
  };
}
