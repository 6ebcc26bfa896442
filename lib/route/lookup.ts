/**
 * What is asked of one request while its route is looked up. Each answer is found at most once, and
 * only when some route wants it.
 *
 * @module
 */

import type { RequestView } from "../http/message.ts";
import { type Params, parseQuery } from "./query.ts";

/** The request of the lookup under way. One object serves all lookups of a table, one after the other. */
export class Lookup {
  #view: RequestView | undefined;
  #path = "";
  #name = "";
  #value: string | undefined;
  #grpc: boolean | undefined;
  #params: Params | undefined;

  /** Begins the lookup of a request. */
  begin(view: RequestView): void {
    this.#view = view;
    this.#path = view.path;
    this.#name = "";
    this.#grpc = undefined;
    this.#params = undefined;
  }

  /** Lets go of the request, so that an idle table holds on to none. */
  end(): void {
    this.#view = undefined;
    this.#value = undefined;
    this.#params = undefined;
  }

  /** The raw path. */
  get path(): string {
    return this.#path;
  }

  /** The method. */
  get method(): string {
    return this.#view!.method;
  }

  /** Whether the request is gRPC. */
  get grpc(): boolean {
    return this.#grpc ??= this.#view!.grpc;
  }

  /** The value of a field. Routes on one path mostly ask for the same field, so the last one is kept. */
  header(name: string): string | undefined {
    if (name !== this.#name) {
      this.#value = this.#view!.header(name);
      this.#name = name;
    }
    return this.#value;
  }

  /** The query parameters. */
  get params(): Params {
    return this.#params ??= parseQuery(this.#view!.query);
  }
}
