/**
 * Requests as routing sees them, for tests.
 *
 * @module
 */

import type { RequestView } from "../../lib/http/message.ts";

/** The parts of a request that a test cares about; the rest is that of `GET /`. */
export interface RequestParts {
  method?: string;
  path?: string;
  query?: string;
  host?: string;
  grpc?: boolean;
  /** Fields by name in lower case. */
  headers?: Readonly<Record<string, string>>;
}

/** A request of which only some parts matter. */
export function requestView(parts: RequestParts = {}): RequestView {
  const headers = new Map(Object.entries(parts.headers ?? {}));
  return {
    method: parts.method ?? "GET",
    path: parts.path ?? "/",
    query: parts.query ?? "",
    host: parts.host ?? "",
    grpc: parts.grpc ?? false,
    header: (name) => headers.get(name),
  };
}
