/**
 * Where the program listens: on addresses that it binds, on sockets that it was passed, or on those that the
 * process before hands over.
 *
 * @module
 */
import type { PassedSocket } from "./activation.ts";
import { UsageError } from "./options.ts";

/** What a listener is for. */
export type Role = "listen" | "admin";

/** A socket of the process before. */
export interface HandedOver {
  /** What it was for there. */
  readonly role: Role;
  /** How the command line called it there. */
  readonly key: string;
  /** Its descriptor here. */
  readonly fd: number;
  /** The file that whoever listens last removes. */
  readonly file?: string;
}

/** A listener to open. */
export interface Endpoint {
  /** What it is for. */
  readonly role: Role;
  /** How the command line calls it. */
  readonly key: string;
  /** The address to listen on. */
  readonly address: string;
  /** The file of an inherited socket that is to be removed at the end. */
  readonly file?: string;
}

/** What the command line wants. */
export interface Wanted {
  /** The addresses of the listeners as given; none means all sockets that were passed, or the default. */
  readonly listen: readonly string[];
  /** The address of the admin listener, if there is to be one. */
  readonly admin: string | undefined;
  /** Where to listen when nothing says it. */
  readonly fallback: string;
}

/** What the process was given. */
export interface Inherited {
  /** By whoever started it. */
  readonly passed: readonly PassedSocket[];
  /** By the process before. */
  readonly handedOver: readonly HandedOver[];
}

/** Stands for all sockets that were passed and are not named otherwise. */
export const ALL_PASSED = "fd:*";

/** Whether an address means sockets that were passed, by their name. */
export function isSocketName(address: string): boolean {
  return /^fd:(?!\d+$)[\w.@+-]{1,255}$/.test(address);
}

/**
 * Finds what to listen on. The same address is the same socket as in the process before, whatever it is bound to.
 *
 * @returns The listeners, and the descriptors of that process which nobody wants any more.
 * @throws {UsageError} When no socket of a name was passed.
 */
export function findEndpoints(
  { listen, admin, fallback }: Wanted,
  { passed, handedOver }: Inherited,
): { readonly endpoints: readonly Endpoint[]; readonly unwanted: readonly number[] } {
  const left = [...handedOver];
  const free = [...passed];
  const find = (role: Role, key: string): Endpoint[] => {
    const isGroup = key === ALL_PASSED || isSocketName(key);
    const known = left.filter((socket) => socket.role === role && socket.key === key);
    const taken = isGroup ? known : known.slice(0, 1);
    for (const socket of taken) left.splice(left.indexOf(socket), 1);
    if (taken.length > 0) {
      return taken.map(({ fd, file }) => ({
        role,
        key,
        address: `fd:${fd}`,
        ...(file === undefined ? {} : { file }),
      }));
    }
    const name = key.slice("fd:".length);
    const named = isGroup
      ? free.filter((socket) => key === ALL_PASSED || socket.name === name)
      : free.filter((socket) => key === `fd:${socket.fd}`);
    for (const socket of named) free.splice(free.indexOf(socket), 1);
    if (isGroup) return named.map(({ fd }) => ({ role, key, address: `fd:${fd}` }));
    return [{ role, key, address: key }];
  };
  const need = (role: Role, key: string): Endpoint[] => {
    const found = find(role, key);
    if (found.length > 0) return found;
    const names = [...new Set(passed.map(({ name }) => JSON.stringify(name)))].join(", ");
    throw new UsageError(
      `--${role} ${key}: no socket of this name was passed; ` +
        (names === "" ? "none was at all" : `there is ${names}`),
    );
  };
  const forAdmin = admin === undefined ? [] : need("admin", admin);
  if (forAdmin.length > 1) {
    throw new UsageError(
      `--admin ${admin}: ${forAdmin.length} sockets have this name; accepted is one`,
    );
  }
  const forListen = listen.flatMap((key) => need("listen", key));
  if (listen.length === 0) forListen.push(...find("listen", ALL_PASSED));
  if (forListen.length === 0) forListen.push(...find("listen", fallback));
  return { endpoints: [...forAdmin, ...forListen], unwanted: left.map(({ fd }) => fd) };
}
