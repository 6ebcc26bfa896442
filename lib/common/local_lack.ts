/**
 * What this process or its system can run out of when a connection is to be opened. It says nothing about the peer.
 *
 * @module
 */
import { lacksDescriptors } from "./descriptors.ts";

/**
 * What is lacking. Descriptors and memory are needed for any connection; local ports are given out for each
 * destination, so that another one may still be reached.
 */
export type LocalLack = "descriptors" | "memory" | "ports";

/** What an attempt to connect has lacked here; `undefined` when it is not known to have failed for that. */
export function findLocalLack(error: unknown): LocalLack | undefined {
  switch (error instanceof Error && "code" in error ? error.code : undefined) {
    case "EMFILE":
    case "ENFILE":
      return "descriptors";
    case "ENOBUFS":
    case "ENOMEM":
      return "memory";
    case "EADDRNOTAVAIL":
      // connect(2) says the same where this host has no address of the peer's family.
      return lackOf(() => Deno.listen({ hostname: "0.0.0.0", port: 0 }));
    case undefined:
      // A name that is not found: without a descriptor neither the hosts file nor a name server can be read.
      return lackOf(() => Deno.openSync("/dev/null"));
    default:
      return undefined;
  }
}

function lackOf(open: () => Disposable): LocalLack | undefined {
  try {
    open()[Symbol.dispose]();
    return undefined;
  } catch (error) {
    if (lacksDescriptors(error)) return "descriptors";
    const { AddrInUse, AddrNotAvailable } = Deno.errors;
    // Without permission, or where there is no such file, nothing is known.
    return error instanceof AddrInUse || error instanceof AddrNotAvailable ? "ports" : undefined;
  }
}
