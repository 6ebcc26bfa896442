/**
 * The registries of one balancer: one, or one for each of its protocols. Their ids are distinct, so an id says
 * which is meant; an address without scheme does not always.
 *
 * @module
 */
import { LiveBackend } from "../backend/backend.ts";
import type { FollowedName } from "../backend/discovery/names.ts";
import type { LiveRoute, Registry } from "../backend/registry.ts";
import { type Address, formatAddress, parseAddress } from "../common/address.ts";
import { isDnsName, normalizeTarget } from "../common/dns_name.ts";
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

  /** The registry that has a backend or a name. */
  of(wanted: LiveBackend | FollowedName): Registry {
    const { id } = wanted;
    const found = this.all.find((registry) =>
      (wanted instanceof LiveBackend ? registry.backend(id) : registry.names.find(id)) === wanted
    );
    if (found !== undefined) return found;
    throw new Error(`no registry has ${id}`);
  }

  /**
   * The backend that an id or an address means, or the name that an id or its text means.
   *
   * @throws {ManagementError} `invalid_argument` when it may mean two.
   */
  find(id: string): LiveBackend | FollowedName | undefined {
    for (const registry of this.all) {
      const known = registry.backend(id);
      if (known !== undefined) return known;
    }
    const found = this.all.flatMap((registry) => {
      const meant = findName(registry, id) ?? findAddress(registry, id);
      return meant === undefined ? [] : [{ meant, scheme: registry.scheme }];
    });
    if (found.length < 2) return found[0]?.meant;
    const preferred = found.find(({ scheme }) => scheme === this.#prefers);
    if (preferred !== undefined) return preferred.meant;
    const ids = found.map(({ meant, scheme }) => `${meant.id} for ${scheme}`);
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

/** The name as somebody wrote it, or with an id. */
export function findName(registry: Registry, text: string): FollowedName | undefined {
  if (!isDnsName(text)) return registry.names.find(text);
  try {
    return registry.names.find(normalizeTarget(text));
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
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
 * Whether an address as somebody wrote it means this one, which never has a name of its own. Without a scheme it is the one that the registry
 * gives to such addresses, which is never one with TLS.
 */
function isMeant(written: Address, address: Address): boolean {
  if (written.transport === "unix" || address.transport === "unix") {
    return formatAddress(written) === formatAddress(address);
  }
  return written.host === address.host && written.port === address.port &&
    address.serverName === undefined &&
    (written.scheme === ""
      ? address.scheme !== "https" && address.scheme !== "grpcs"
      : written.scheme === address.scheme);
}
