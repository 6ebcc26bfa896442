/**
 * How a registry makes its backends.
 *
 * @module
 */
import { type Address, formatAddress } from "../common/address.ts";
import { stableId } from "../common/stable_id.ts";
import type { Admission } from "./admission.ts";
import { LiveBackend } from "./backend.ts";
import { H1Pool } from "./h1_pool.ts";
import { H2Pool } from "./h2_pool.ts";
import { RequestLimit } from "./limits.ts";
import type { RegistryOptions } from "./registry_options.ts";

/**
 * The id of the backend at an address. With the protocol: one process may balance two, and a socket file names none.
 * With the server name: who is found by another name has another certificate.
 */
export function backendId(scheme: string, address: Address): string {
  const name = address.transport === "tcp" ? address.serverName : undefined;
  const text = `${scheme} ${formatAddress(address)}`;
  return stableId("b", name === undefined ? text : `${text} ${name}`);
}

/** A backend with its pools of connections, and with a limit where requests are admitted. */
export function makeBackend(
  id: string,
  address: Address,
  { options, admission }: {
    readonly options: RegistryOptions;
    readonly admission: Admission | undefined;
  },
): LiveBackend {
  const { clock, connect, connections, requests, slowStart = 0 } = options;
  const parts = { address, addr: formatAddress(address), clock, connect };
  const live = new LiveBackend(id, address, {
    http: new H1Pool(parts, connections),
    h2: new H2Pool(parts, connections),
    clock,
    slowStart,
    limit: admission === undefined ? undefined : new RequestLimit(requests!),
  });
  if (admission !== undefined) live.onRoom = ({ pools }) => admission.serve(pools);
  return live;
}
