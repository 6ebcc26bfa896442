/**
 * What the comparison runs.
 *
 * @module
 */
import { ScriptError } from "../script.ts";

/** One kind of work that every proxy does in turn. */
export interface Scenario {
  name: string;
  /** The command of lb that serves it. */
  mode: "http-l4" | "http-l7" | "grpc-l4" | "grpc-l7";
  /** Whether the proxies work on connections (4) or on requests (7). */
  layer: 4 | 7;
  /** The path of the backends that is asked for. */
  path: string;
  /** Bytes of the response body. */
  bodyBytes: number;
  /** Keep-alive connections of the load generator. */
  connections: number;
  /** gRPC only: calls that each connection has open at a time. */
  streams?: number;
  /** gRPC only: whether the client's field blocks use no dynamic table (RFC 7541). */
  stateless?: boolean;
}

/** A message as gRPC frames it: no compression, length 4, then 4 bytes. */
export const GRPC_MESSAGE: Uint8Array<ArrayBuffer> = new Uint8Array([
  0,
  0,
  0,
  0,
  4,
  10,
  2,
  104,
  105,
]);

/** The body of `/`, as small as that of a typical health check. */
export const SMALL_BODY = "hello from a backend\n";

const small = { path: "/", bodyBytes: SMALL_BODY.length, connections: 64 };
const medium = { path: "/10k", bodyBytes: 10 * 1024, connections: 64 };
const large = { path: "/1m", bodyBytes: 1024 * 1024, connections: 16 };

const call = {
  path: "/echo.Echo/Say",
  bodyBytes: GRPC_MESSAGE.length,
  connections: 8,
  streams: 16,
};

/** Every scenario, in the order of the report. */
export const SCENARIOS: readonly Scenario[] = [
  { name: "http-l4", mode: "http-l4", layer: 4, ...small },
  { name: "http-l4-1m", mode: "http-l4", layer: 4, ...large },
  { name: "http-l7", mode: "http-l7", layer: 7, ...small },
  { name: "http-l7-10k", mode: "http-l7", layer: 7, ...medium },
  { name: "http-l7-1m", mode: "http-l7", layer: 7, ...large },
  { name: "grpc-l4", mode: "grpc-l4", layer: 4, ...call },
  { name: "grpc-l4-stateless", mode: "grpc-l4", layer: 4, ...call, stateless: true },
  { name: "grpc-l7", mode: "grpc-l7", layer: 7, ...call },
  { name: "grpc-l7-stateless", mode: "grpc-l7", layer: 7, ...call, stateless: true },
];

/**
 * Picks scenarios by name.
 *
 * @param names Names with commas between them, or `all`.
 * @throws {ScriptError} If a name is not known.
 */
export function pickScenarios(names: string): readonly Scenario[] {
  if (names === "all") return SCENARIOS;
  return names.split(",").map((name) => {
    const scenario = SCENARIOS.find((scenario) => scenario.name === name.trim());
    if (scenario === undefined) {
      const known = SCENARIOS.map(({ name }) => name).join(", ");
      throw new ScriptError(`--scenario: '${name}' is none of all, ${known}`);
    }
    return scenario;
  });
}
