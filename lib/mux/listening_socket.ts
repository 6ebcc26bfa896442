/**
 * Where a listener's socket comes from, and what becomes of it: bound here, or inherited from the process that
 * served before. Whatever of the runtime listens on it, that can be said in one way.
 *
 * @module
 */
import type { ListenAddress } from "../common/address.ts";
import { LinuxSockets, type SocketAddress, SocketError } from "../common/linux_sockets.ts";
import { stableId } from "../common/stable_id.ts";
import { bindBeside } from "./unix_socket.ts";

/** What of the runtime listens: `Deno.listen`, `Deno.serve` and their like. */
export interface Binder<T> {
  /** Listens on a port; 0 lets the system choose. */
  tcp(options: { readonly hostname: string; readonly port: number }): T;
  /** Listens on a Unix socket. */
  unix(path: string): T;
  /** Ends what listens. */
  close(value: T): void;
}

/** How a socket was come by. */
export interface SocketOptions {
  /** The file of an inherited Unix socket that is removed at the end, as that of one that was bound here. */
  readonly file?: string | undefined;
}

interface SocketParts {
  /** Where it listens. */
  readonly addr: SocketAddress;
  /** The name that the system knows it by: for a Unix socket, the one that it was bound with. */
  readonly name: SocketAddress;
  /** The descriptor that was inherited. */
  readonly inherited?: number;
  /** The file that is removed at the end. */
  readonly file?: string | undefined;
}

/** A listening socket of this process. */
export class ListeningSocket<T extends { readonly addr: Deno.Addr }> {
  /** What listens. */
  readonly value: T;
  readonly #parts: SocketParts;

  /** Made by {@linkcode openSocket}. */
  constructor(value: T, parts: SocketParts) {
    this.value = value;
    this.#parts = parts;
  }

  /** Where it listens, with the port that the system chose. */
  get addr(): Deno.Addr {
    const { addr } = this.#parts;
    return addr.transport === "tcp" ? addr : { transport: "unix", path: addr.path };
  }

  /**
   * Another descriptor of the socket, for a program that is started and is to take it over. It is to be closed
   * once that has begun.
   *
   * @throws {SocketError} When sockets cannot be passed on here.
   */
  share(): number {
    const { addr, name, inherited, file } = this.#parts;
    using sockets = new LinuxSockets();
    if (inherited !== undefined) return sockets.duplicate(inherited);
    if (addr.transport === "unix" && file === undefined) {
      throw new SocketError(
        `unix:${addr.path} cannot be passed on: its folder has no room for the name that this takes`,
      );
    }
    return sockets.duplicate(sockets.find(name));
  }

  /** Leaves all further connections to the processes that share the socket; what listens waits in vain from now on. */
  detach(): void {
    using sockets = new LinuxSockets();
    const { name } = this.#parts;
    const stand = name.transport === "tcp"
      ? Deno.listen({ hostname: "127.0.0.1", port: 0 })
      : Deno.listen({ transport: "unix", path: standName() });
    try {
      sockets.replace(name, sockets.find(socketAddress(stand.addr)));
    } finally {
      stand.close();
    }
  }

  /**
   * Frees what the runtime does not free itself, when nothing listens any more.
   *
   * @param passedOn Another process listens on it, so its file stays.
   */
  release(passedOn: boolean): void {
    const { inherited, file } = this.#parts;
    if (inherited !== undefined) {
      using sockets = new LinuxSockets();
      sockets.close(inherited);
    }
    if (file === undefined || passedOn) return;
    try {
      Deno.removeSync(file);
    } catch (error) {
      // Somebody has removed it before.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

/**
 * Binds a socket, or takes an inherited one.
 *
 * @throws {Deno.errors.AddrInUse} When the address is taken, and what else the runtime throws.
 * @throws {SocketError} When a socket cannot be inherited.
 */
export function openSocket<T extends { readonly addr: Deno.Addr }>(
  address: ListenAddress,
  binder: Binder<T>,
  options: SocketOptions = {},
): ListeningSocket<T> {
  switch (address.transport) {
    case "tcp": {
      const value = binder.tcp({ hostname: address.host, port: address.port });
      const addr = socketAddress(value.addr);
      return new ListeningSocket(value, { addr, name: addr });
    }
    case "unix": {
      const { path } = address;
      const { value, name } = bindBeside(path, binder);
      return new ListeningSocket(value, {
        addr: { transport: "unix", path },
        name: { transport: "unix", path: name },
        file: name === path ? undefined : path,
      });
    }
    case "fd":
      return inherit(address.fd, binder, options);
  }
}

let stands = 0;

/** A name in the abstract namespace that nobody knows of. */
function standName(): string {
  return `\0${stableId("lb", `${Deno.pid} ${++stands}`)}`;
}

/** Lets the runtime listen on a socket that nobody knows of, and puts the inherited one in its place. */
function inherit<T extends { readonly addr: Deno.Addr }>(
  fd: number,
  binder: Binder<T>,
  { file }: SocketOptions,
): ListeningSocket<T> {
  using sockets = new LinuxSockets();
  const name = sockets.addressOf(fd);
  sockets.keep(fd);
  const value = name.transport === "tcp"
    ? binder.tcp({ hostname: "127.0.0.1", port: 0 })
    : binder.unix(standName());
  try {
    sockets.replace(socketAddress(value.addr), fd);
  } catch (error) {
    binder.close(value);
    throw error;
  }
  const addr: SocketAddress = file === undefined ? name : { transport: "unix", path: file };
  return new ListeningSocket(value, { addr, name, inherited: fd, file });
}

function socketAddress(addr: Deno.Addr): SocketAddress {
  if (addr.transport === "tcp") {
    return { transport: "tcp", hostname: addr.hostname, port: addr.port };
  }
  if (addr.transport === "unix") return { transport: "unix", path: addr.path };
  throw new SocketError(`a listener over ${addr.transport} is not what was asked for`);
}
