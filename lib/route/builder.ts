/**
 * Builds routes in code.
 *
 * @module
 */

import { formatRegex } from "./pattern.ts";
import type { RateLimitRule } from "./rate_limit.ts";
import type { HedgeRule, RetryRule } from "./retry.ts";
import type { PathMatch, PathRewrite, Redirect, Route, RouteTarget, ValueMatch } from "./route.ts";
import { validateRoute } from "./validate.ts";

/** What {@linkcode RouteBuilder.target} may be told. */
export interface TargetOptions {
  /** Its share among the targets of the route, an integer from 0 to 65535; 1 unless given. */
  weight?: number;
}

type Field = readonly [name: string, value: string];

/**
 * Builds a {@linkcode Route}. Each condition may be given more than once: values of one kind are
 * alternatives, and all kinds must hold, where every header, parameter and metadata name is a kind of
 * its own. Nothing is checked before {@linkcode RouteBuilder.build}.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { RouteBuilder } from "./builder.ts";
 *
 * const route = new RouteBuilder()
 *   .path("/api")
 *   .header("X-Version", /v[23]/)
 *   .target("http://localhost:8081", { weight: 9 })
 *   .target("http://localhost:8082")
 *   .stripPrefix()
 *   .build();
 * assertEquals(route.targets.map((target) => target.weight), [9, 1]);
 * ```
 */
export class RouteBuilder {
  readonly #hosts: string[] = [];
  readonly #paths: PathMatch[] = [];
  readonly #httpMethods: string[] = [];
  readonly #headers: ValueMatch[] = [];
  readonly #params: ValueMatch[] = [];
  readonly #services: string[] = [];
  readonly #methods: string[] = [];
  readonly #fullMethods: string[] = [];
  readonly #grpcHeaders: ValueMatch[] = [];
  readonly #targets: RouteTarget[] = [];
  readonly #requestHeaders = { remove: [] as string[], set: [] as Field[], add: [] as Field[] };
  readonly #responseHeaders = { remove: [] as string[], set: [] as Field[], add: [] as Field[] };
  #rewrite: PathRewrite | undefined;
  #redirect: Redirect | undefined;
  #retry: RetryRule | undefined;
  #hedge: HedgeRule | undefined;
  #rateLimit: RateLimitRule | undefined;

  /** A gRPC service with its package, e.g. `myapp.UserService`. */
  service(name: string): this {
    this.#services.push(name);
    return this;
  }

  /** A gRPC method of any service, e.g. `Login`; with {@linkcode service}, of these only. */
  method(name: string): this {
    this.#methods.push(name);
    return this;
  }

  /** A gRPC method with its service, e.g. `/myapp.UserService/Login`; the first slash may be left out. */
  fullMethod(name: string): this {
    this.#fullMethods.push(name);
    return this;
  }

  /** gRPC metadata by key: a value, an expression for the whole value, or any value. */
  grpcHeader(name: string, value: string | RegExp | { present: true }): this {
    this.#grpcHeaders.push(
      typeof value === "string" || value instanceof RegExp
        ? valueMatch(name, value)
        : { name, type: "present" },
    );
    return this;
  }

  /** A path and all below (`/api`), or a pattern (`/users/:id` one segment, `/static/*` the rest). */
  path(path: string): this {
    this.#paths.push({ type: "prefix", value: path });
    return this;
  }

  /** One path, as it is sent. */
  pathExact(path: string): this {
    this.#paths.push({ type: "exact", value: path });
    return this;
  }

  /** An expression for the whole path. */
  pathRegex(regex: string | RegExp): this {
    this.#paths.push({ type: "regex", value: regexSource(regex) });
    return this;
  }

  /** A header field by its name without case: a value, or an expression for the whole value. */
  header(name: string, value: string | RegExp): this {
    this.#headers.push(valueMatch(name, value));
    return this;
  }

  /** A header field that is there, whatever its value. */
  headerPresent(name: string): this {
    this.#headers.push({ name, type: "present" });
    return this;
  }

  /** A query parameter, decoded: a value, or an expression for the whole value. One of its values must match. */
  param(name: string, value: string | RegExp): this {
    this.#params.push(valueMatch(name, value));
    return this;
  }

  /** A query parameter that is there, whatever its value. */
  paramPresent(name: string): this {
    this.#params.push({ name, type: "present" });
    return this;
  }

  /** A host without port: `example.com`, or `*.example.com` for one or more labels in front. */
  host(host: string): this {
    this.#hosts.push(host);
    return this;
  }

  /** An HTTP method, with case. */
  httpMethod(method: string): this {
    this.#httpMethods.push(method);
    return this;
  }

  /** A backend to which matching requests go, or the name of some: `dns+https://api.internal`. */
  target(addr: string, options: TargetOptions = {}): this {
    this.#targets.push({ addr, weight: options.weight ?? 1 });
    return this;
  }

  /** Cuts the matched prefix off the path. The last word on the path of the target counts. */
  stripPrefix(): this {
    this.#rewrite = { type: "prefix", value: "" };
    return this;
  }

  /** Replaces the matched prefix of the path. The last word on the path of the target counts. */
  rewritePrefix(prefix: string): this {
    this.#rewrite = { type: "prefix", value: prefix };
    return this;
  }

  /** Replaces the whole path; the query stays. The last word on the path of the target counts. */
  rewritePath(path: string): this {
    this.#rewrite = { type: "full", value: path };
    return this;
  }

  /** Replaces all fields of this name in the request; the only way to change Host. */
  setRequestHeader(name: string, value: string): this {
    this.#requestHeaders.set.push([name, value]);
    return this;
  }

  /** Adds a field to the request. */
  addRequestHeader(name: string, value: string): this {
    this.#requestHeaders.add.push([name, value]);
    return this;
  }

  /** Removes all fields of this name from the request. */
  removeRequestHeader(name: string): this {
    this.#requestHeaders.remove.push(name);
    return this;
  }

  /** Replaces all fields of this name in the response. */
  setResponseHeader(name: string, value: string): this {
    this.#responseHeaders.set.push([name, value]);
    return this;
  }

  /** Adds a field to the response. */
  addResponseHeader(name: string, value: string): this {
    this.#responseHeaders.add.push([name, value]);
    return this;
  }

  /** Removes all fields of this name from the response. */
  removeResponseHeader(name: string): this {
    this.#responseHeaders.remove.push(name);
    return this;
  }

  /** Answers with a redirect instead of a backend's response. The last one counts. */
  redirect(redirect: Redirect): this {
    this.#redirect = redirect;
    return this;
  }

  /** Says how requests are sent again, where it differs from what the balancer does. The last word counts. */
  retry(retry: RetryRule): this {
    this.#retry = retry;
    return this;
  }

  /**
   * Sends a request to a second backend too when the first has not begun to answer after `delay` milliseconds: the
   * answer that begins first counts, the other try is cancelled. Over HTTP for idempotent methods only; gRPC calls of
   * the route must be such that may run twice. Those that have not sent their whole request by then, or more than
   * 16 KiB, have one try, as have those whose client stays at the backend (sticky). The last word counts.
   */
  hedge(hedge: HedgeRule): this {
    this.#hedge = hedge;
    return this;
  }

  /**
   * Takes so many requests only, for each client address unless another key is given; those above that are
   * answered 429, or RESOURCE_EXHAUSTED to calls of gRPC. The last word counts.
   */
  rateLimit(rule: RateLimitRule): this {
    this.#rateLimit = rule;
    return this;
  }

  /**
   * The route, checked and normal; it does not change when the builder goes on.
   *
   * @throws {TypeError} as {@linkcode validateRoute} does.
   */
  build(): Route {
    return validateRoute({
      match: {
        hosts: this.#hosts,
        paths: this.#paths,
        httpMethods: this.#httpMethods,
        headers: this.#headers,
        params: this.#params,
        services: this.#services,
        methods: this.#methods,
        fullMethods: this.#fullMethods,
        grpcHeaders: this.#grpcHeaders,
      },
      targets: this.#targets,
      requestHeaders: this.#requestHeaders,
      responseHeaders: this.#responseHeaders,
      ...(this.#rewrite && { rewrite: this.#rewrite }),
      ...(this.#redirect && { redirect: this.#redirect }),
      ...(this.#retry && { retry: this.#retry }),
      ...(this.#hedge && { hedge: this.#hedge }),
      ...(this.#rateLimit && { rateLimit: this.#rateLimit }),
    });
  }
}

function valueMatch(name: string, value: string | RegExp): ValueMatch {
  return typeof value === "string"
    ? { name, type: "exact", value }
    : { name, type: "regex", value: regexSource(value) };
}

function regexSource(regex: string | RegExp): string {
  return typeof regex === "string" ? regex : formatRegex(regex);
}
