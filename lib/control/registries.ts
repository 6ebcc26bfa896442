/**
 * The registries of one balancer: one, or one for each of its protocols. Their ids are distinct, so an id says
 * which is meant; an address without scheme does not always.
 *
 * @module
 */
import type { LiveBackend } from "../backend/backend.ts";
import type { LiveRoute, Registry } from "../backend/registry.ts";
import { type Address, formatAddress, parseAddress } from "../common/address.ts";
import type { Route } from "../route/route.ts";
import { ManagementError } from "./management_error.ts";
import { type Protocol, protocolOfRoute } from "./protocol.ts";

/** Finds what is meant. */
export class Registries {
  /** All of them. */
  readonly all: readonly Registry[];
  readonly #prefers: Protocol | undefined;

  /**
   * @param all At least one; if more, each with another scheme.
   * @param prefers Which one is meant where nothing says it.
   */
  constructor(all: readonly Registry[], prefers?: Protocol) {
    this.all = all;
    this.#prefers = prefers;
  }

  /**
   * The registry that a rule, or a backend as a rule without conditions, belongs to.
   *
   * @throws {TypeError} When it contradicts itself, or nothing says which.
   */
  place(rule: Pick<Route, "match" | "targets" | "redirect">): Registry {
    const [only] = this.all;
    if (this.all.length === 1) return only!;
    const protocol = protocolOfRoute(rule) ?? this.#prefers;
    const found = this.all.find(({ scheme }) => scheme === protocol);
    if (found !== undefined) return found;
    const addresses = rule.targets.map(({ addr }) => JSON.stringify(addr)).join(", ");
    throw new TypeError(
      `${
        addresses || "the route"
      }: nothing says for which protocol it is; accepted is an address ` +
        `with ${this.all.map(({ scheme }) => `${scheme}://`).join(" or ")}`,
    );
  }

  /** The registry that has a backend. */
  of(backend: LiveBackend): Registry {
    const found = this.all.find((registry) => registry.backend(backend.id) === backend);
    if (found !== undefined) return found;
    throw new Error(`no registry has the backend ${backend.addr}`);
  }

  /**
   * The backend that an id or an address means.
   *
   * @throws {ManagementError} `invalid_argument` when it may mean two.
   */
  find(id: string): LiveBackend | undefined {
    for (const registry of this.all) {
      const known = registry.backend(id);
      if (known !== undefined) return known;
    }
    const found = this.all.flatMap((registry) => {
      const backend = findAddress(registry, id);
      return backend === undefined ? [] : [{ backend, scheme: registry.scheme }];
    });
    if (found.length < 2) return found[0]?.backend;
    const preferred = found.find(({ scheme }) => scheme === this.#prefers);
    if (preferred !== undefined) return preferred.backend;
    const ids = found.map(({ backend, scheme }) => `${backend.id} for ${scheme}`);
    throw new ManagementError(
      "invalid_argument",
      `${
        JSON.stringify(id)
      } is the address of more than one backend; accepted is one of their ids: ` +
        ids.join(", "),
    );
  }

  /** The route with an id, and where it is. */
  route(id: string): { readonly registry: Registry; readonly route: LiveRoute } | undefined {
    for (const registry of this.all) {
      const route = registry.route(id);
      if (route !== undefined) return { registry, route };
    }
    return undefined;
  }
}

/** The backend at an address as somebody wrote it. */
export function findAddress(registry: Registry, addr: string): LiveBackend | undefined {
  let address: Address;
  try {
    address = parseAddress(addr);
  } catch (error) {
    // An id that is not known is rarely an address too.
    if (error instanceof TypeError) return undefined;
    throw error;
  }
  for (const backend of registry.backends) {
    if (isMeant(address, backend.address)) return backend;
  }
  return undefined;
}

/**
 * Whether an address as somebody wrote it means this one. Without a scheme it is the one that the registry
 * gives to such addresses, which is never one with TLS.
 */
function isMeant(written: Address, address: Address): boolean {
  if (written.transport === "unix" || address.transport === "unix") {
    return formatAddress(written) === formatAddress(address);
  }
  return written.host === address.host && written.port === address.port &&
    (written.scheme === ""
      ? address.scheme !== "https" && address.scheme !== "grpcs"
      : written.scheme === address.scheme);
}
