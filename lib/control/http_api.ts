/**
 * Management over HTTP: `/lb/add`, `/lb/backends` and `/lb/routes`, answered on the listeners of a balancer
 * and on the admin listener alike.
 *
 * @module
 */

import type { PeerAddress } from "../common/duplex.ts";
import { describeError } from "../common/errors.ts";
import type { LocalHandler } from "../http/l7/context.ts";
import { getLogger } from "../observe/logger.ts";
import { type AccessPolicy, BEARER_CHALLENGE } from "./access.ts";
import { parseJson } from "./json.ts";
import type { AddResult, Management } from "./management.ts";
import { ManagementError } from "./management_error.ts";
import { RefusalLog } from "./refusal_log.ts";
import { json, problem, problemResponse } from "./responses.ts";

/** The largest body that is taken, in bytes. */
export const MAX_BODY = 64 * 1024;

/** RFC 8259, section 8.1: JSON between systems is UTF-8, so no other charset is taken. */
const JSON_TYPE =
  /^application\/(?:[\w.!#$&^-]+\+)?json[\t ]*(?:;[\t ]*charset=(?:utf-8|"utf-8")[\t ]*)?$/i;

/** One call, let in. */
interface Call {
  readonly request: Request;
  readonly remote: PeerAddress;
}

type Handler = (call: Call) => Response | Promise<Response>;

/** The handlers of a resource by method. */
type Resource = ReadonlyMap<string, Handler>;

const log = getLogger("management");

/** Answers management requests of callers that an {@linkcode AccessPolicy} lets in. */
export class ManagementApi implements LocalHandler {
  readonly #management: Management;
  readonly #access: AccessPolicy;
  readonly #refusals = new RefusalLog();

  /** Answers for the balancer that `management` manages. */
  constructor(management: Management, access: AccessPolicy) {
    this.#management = management;
    this.#access = access;
  }

  /** Whether a path, as it was sent, is one of management; all others belong to the backends. */
  claims(path: string): boolean {
    return path.startsWith("/lb/") &&
      (path === "/lb/add" ||
        path === "/lb/backends" || path.startsWith("/lb/backends/") ||
        path === "/lb/routes" || path.startsWith("/lb/routes/"));
  }

  /** The refusal of a caller that may not call, `undefined` for one that may. */
  authorize(request: Request, remote: PeerAddress): Response | undefined {
    const { headers, method } = request;
    const decision = this.#access.check({
      remote,
      method,
      authorization: headers.get("authorization") ?? undefined,
      // HTTP/2 has the host in the target instead (RFC 9113, section 8.3.1).
      host: headers.get("host") ?? new URL(request.url).host,
      origin: headers.get("origin") ?? undefined,
    });
    if (decision.allowed) return undefined;
    this.#refusals.add({ reason: decision.reason, method, by: remote.hostname });
    const code = decision.status === 401 ? "unauthenticated" : "permission_denied";
    const response = problem(new ManagementError(code, decision.reason));
    // RFC 9110, section 15.5.2: a 401 "MUST send a WWW-Authenticate header field".
    if (decision.status === 401) response.headers.set("WWW-Authenticate", BEARER_CHALLENGE);
    return response;
  }

  /** Answers one request. Never rejects. */
  async handle(request: Request, remote: PeerAddress): Promise<Response> {
    try {
      return this.authorize(request, remote) ?? await this.#answer({ request, remote });
    } catch (error) {
      if (error instanceof ManagementError) return problem(error);
      log.error("a management request failed", { error: describeError(error) });
      return problemResponse(500, "internal", "The load balancer failed.");
    }
  }

  #answer(call: Call): Response | Promise<Response> {
    const { pathname } = new URL(call.request.url);
    const resource = this.#find(pathname);
    if (resource === undefined) {
      throw new ManagementError(
        "not_found",
        `${JSON.stringify(pathname)} is not here; accepted are /lb/add, /lb/backends, ` +
          "/lb/backends/{id}, /lb/backends/{id}/drain, /lb/routes and /lb/routes/{id}, " +
          "with every / of an address as %2F",
      );
    }
    const { method } = call.request;
    const handler = resource.get(method === "HEAD" ? "GET" : method);
    if (handler !== undefined) return handler(call);
    const allowed = [...resource.keys(), ...(resource.has("GET") ? ["HEAD"] : [])].join(", ");
    const response = problem(
      new ManagementError(
        "method_not_allowed",
        `${JSON.stringify(method)} is not possible here; accepted is ${allowed}`,
      ),
    );
    response.headers.set("Allow", allowed);
    return response;
  }

  #find(pathname: string): Resource | undefined {
    const [root, lb, collection, key, verb, ...rest] = pathname.split("/");
    if (root !== "" || lb !== "lb" || rest.length > 0 || key === "") return undefined;
    if (key === undefined) return this.#collection(collection);
    if (collection === "backends") return this.#backend(decode(key), verb);
    if (collection === "routes" && verb === undefined) return this.#route(decode(key));
    return undefined;
  }

  #collection(name: string | undefined): Resource | undefined {
    const management = this.#management;
    switch (name) {
      case "add":
        return new Map([["POST", (call) => this.#add(call)]]);
      case "backends":
        return new Map([[
          "GET",
          () =>
            json(200, {
              backends: management.listBackends(),
              names: management.listNames(),
              panic: management.listPools().filter(({ panics }) => panics)
                .map(({ pool, protocol }) => ({ pool, protocol })),
            }),
        ]]);
      case "routes":
        return new Map([["GET", () => json(200, { routes: management.listRoutes() })]]);
      default:
        return undefined;
    }
  }

  #backend(id: string, verb: string | undefined): Resource | undefined {
    const management = this.#management;
    switch (verb) {
      case undefined:
        return new Map<string, Handler>([
          ["GET", () => json(200, management.describeBackend(id))],
          ["PATCH", (call) => this.#change(id, call)],
          ["DELETE", ({ remote }) => json(200, management.removeBackend(id, remote))],
        ]);
      case "drain":
        return new Map([["POST", ({ remote }) => json(200, management.drain(id, remote))]]);
      default:
        return undefined;
    }
  }

  #route(id: string): Resource {
    const management = this.#management;
    return new Map<string, Handler>([
      ["GET", () => json(200, management.route(id))],
      ["DELETE", ({ remote }) => json(200, management.removeRoute(id, remote))],
    ]);
  }

  async #add({ request, remote }: Call): Promise<Response> {
    const management = this.#management;
    const body = await readBody(request);
    if (management.layer === "l7") {
      if (body === undefined) {
        throw new ManagementError(
          "invalid_argument",
          'the body is missing; accepted is JSON such as {"backend_addr": "http://localhost:8083", ' +
            '"paths": ["/api"]}',
        );
      }
      const { parseAddL7 } = await import("./schemas.ts");
      return added(management.addL7(parseAddL7(body.value), remote));
    }
    if (body === undefined) return added(management.addL4({}, remote));
    const { parseAddL4, isAddL7 } = await import("./schemas.ts");
    if (isAddL7(body.value)) management.requireL7();
    return added(management.addL4(parseAddL4(body.value), remote));
  }

  async #change(id: string, { request, remote }: Call): Promise<Response> {
    const body = await readBody(request);
    if (body === undefined) {
      throw new ManagementError(
        "invalid_argument",
        'the body is missing; accepted is JSON such as {"weight": 3}',
      );
    }
    const { parseChange } = await import("./schemas.ts");
    return json(200, this.#management.setWeight(id, parseChange(body.value).weight, remote));
  }
}

/** What follows the collection in the path, as the caller wrote it. */
function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    throw new ManagementError(
      "invalid_argument",
      `${JSON.stringify(segment)} is no percent-encoded UTF-8; accepted is an id or an address`,
    );
  }
}

/** The JSON in the body; `undefined` when there is no body. */
async function readBody(request: Request): Promise<{ readonly value: unknown } | undefined> {
  const bytes = await readBytes(request);
  if (bytes.length === 0) return undefined;
  const type = request.headers.get("content-type");
  if (type === null || !JSON_TYPE.test(type)) {
    // The type that `curl -d` sends by itself is one that any web page may send anywhere.
    throw new ManagementError(
      "unsupported_media_type",
      `the content type ${type === null ? "is missing" : `is ${JSON.stringify(type)}`}; ` +
        "accepted is application/json in UTF-8, with curl -H 'Content-Type: application/json'",
    );
  }
  try {
    return { value: parseJson(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) };
  } catch (error) {
    // The decoder throws TypeErrors, the parser SyntaxErrors.
    if (!(error instanceof TypeError) && !(error instanceof SyntaxError)) throw error;
    throw new ManagementError("invalid_argument", `the body is no JSON: ${error.message}`);
  }
}

async function readBytes(request: Request): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of request.body ?? []) {
      length += chunk.length;
      if (length > MAX_BODY) {
        throw new ManagementError(
          "payload_too_large",
          `the body is too large; accepted are ${MAX_BODY} bytes`,
        );
      }
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof ManagementError) throw error;
    // Nobody is left to read it, but the call must not count as a fault of our own.
    throw new ManagementError("invalid_argument", `the body ended early: ${describeError(error)}`);
  }
  return concat(chunks, length);
}

function concat(chunks: readonly Uint8Array[], length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

function added(result: AddResult): Response {
  const response = json(result.created ? 201 : 200, result);
  if (result.created) response.headers.set("Location", `/lb/backends/${result.id}`);
  return response;
}
