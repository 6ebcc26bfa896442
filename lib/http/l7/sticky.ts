/**
 * Clients stay at the backend that has served them: it is named in a cookie (RFC 6265).
 *
 * @module
 */
import type { LiveBackend } from "../../backend/backend.ts";
import type { Pool } from "../../backend/pool.ts";
import type { CompiledChanges } from "../field_changes.ts";
import type { Registry } from "../../backend/registry.ts";
import type { RequestView } from "../message.ts";
import { readCookie } from "./affinity.ts";

/** How clients are kept at their backend. */
export interface StickyOptions {
  /** The name of the cookie: a token. */
  readonly cookie: string;
}

const TOKEN = /^[!#$%&'*+\-.^_`|~\dA-Za-z]+$/;
const NONE: ReadonlySet<string> = new Set();

/** Reads and writes the cookie. Its value is the id of the backend, which is the same after a restart. */
export class Stickiness {
  readonly #name: string;

  /** @throws {TypeError} When the name cannot be that of a cookie. */
  constructor({ cookie }: StickyOptions) {
    if (!TOKEN.test(cookie)) {
      throw new TypeError(
        `sticky cookie ${
          JSON.stringify(cookie)
        } is not accepted; accepted are letters, digits and any of ` +
          "!#$%&'*+-.^_`|~",
      );
    }
    this.#name = cookie;
  }

  /** The id of a backend, or whatever else stands in the client's cookie. */
  read(view: RequestView): string | undefined {
    return readCookie(view.header("cookie"), this.#name);
  }

  /**
   * Changes of an answer with the cookie for `backend` added, whatever they do to the cookies of the backend itself.
   *
   * @param secure Whether the client must send it over TLS only: it came that way.
   */
  add(
    changes: CompiledChanges | undefined,
    backend: LiveBackend,
    secure: boolean,
  ): CompiledChanges {
    const value = `${this.#name}=${backend.id}; Path=/; HttpOnly; SameSite=Lax${
      secure ? "; Secure" : ""
    }`;
    return {
      drop: changes?.drop ?? NONE,
      write: [...changes?.write ?? [], ["Set-Cookie", value]],
    };
  }
}

/** The backend that the client of one request is to stay at. */
export class Stay {
  readonly #sticky: Stickiness;
  readonly #secure: boolean;
  /** What the client's cookie says. */
  readonly #id: string | undefined;

  /** @param secure Whether the request came over TLS. */
  constructor(sticky: Stickiness, view: RequestView, secure: boolean) {
    this.#sticky = sticky;
    this.#secure = secure;
    this.#id = sticky.read(view);
  }

  /** Whether the client has been at `backend`. */
  names(backend: LiveBackend): boolean {
    return backend.id === this.#id;
  }

  /** The backend, if the client may stay there. */
  find(registry: Registry, pool: Pool): LiveBackend | undefined {
    const backend = this.#id === undefined ? undefined : registry.backend(this.#id);
    return backend !== undefined && mayStay(pool, backend) ? backend : undefined;
  }

  /** Changes of an answer from `backend`: they tell the client to stay there from now on, unless it is to already. */
  changesFrom(
    backend: LiveBackend,
    changes: CompiledChanges | undefined,
  ): CompiledChanges | undefined {
    return this.names(backend) ? changes : this.#sticky.add(changes, backend, this.#secure);
  }
}

/**
 * Whether a client may stay: the backend is one of those that the pool picks, and not at its limit. A weight of 0 keeps
 * new ones out only.
 */
function mayStay(pool: Pool, backend: LiveBackend): boolean {
  return pool.picks(backend) && !backend.full;
}
