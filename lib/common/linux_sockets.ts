/**
 * Listening sockets that pass from process to process, on Linux. The runtime neither takes over a socket that
 * was inherited nor says which descriptor is behind one of its own, so the system is asked directly: by its C
 * library (`--allow-ffi`) and by `/proc` (`--allow-all`).
 *
 * @module
 */
import { describeError } from "./errors.ts";

/** What stands in the way of passing sockets on here. */
export class SocketError extends Error {
  /** The class name, for code that meets errors of several library versions. */
  override readonly name = "SocketError";
}

const SYMBOLS = {
  close: { parameters: ["i32"], result: "i32" },
  dup: { parameters: ["i32"], result: "i32" },
  dup3: { parameters: ["i32", "i32", "i32"], result: "i32" },
  epoll_ctl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  sendto: { parameters: ["i32", "buffer", "usize", "i32", "buffer", "u32"], result: "isize" },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
} as const;

/** The C library of GNU, for which the runtime is built on Linux. */
const LIBRARY = "libc.so.6";

// Numbers of <asm-generic/*.h> and <linux/*.h>, the same on x86_64 and aarch64.
const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const CLOEXEC = 0o2000000;
const NONBLOCK = 0o4000;
const SOL_SOCKET = 1;
const SO_TYPE = 3;
const SO_ACCEPTCONN = 30;
const MSG_NOSIGNAL = 0x4000;
const F_SETFD = 2;
const F_GETFL = 3;
const F_SETFL = 4;
const FD_CLOEXEC = 1;
const EPOLL_CTL_ADD = 1;
/** Bytes of `struct sockaddr_storage`, which has room for every address. */
const MAX_SOCKADDR = 128;
/** Where the text begins in `struct sockaddr_un`, and where its bytes end (unix(7)). */
const SUN_PATH = 2;
const MAX_SUN_PATH = 108;

/** Where a listening socket is, as the system says it. */
export type SocketAddress =
  | { readonly transport: "tcp"; readonly hostname: string; readonly port: number }
  /** An abstract name begins with NUL. */
  | { readonly transport: "unix"; readonly path: string };

/** The calls of the system; freed with the object. */
export class LinuxSockets implements Disposable {
  readonly #library: Deno.DynamicLibrary<typeof SYMBOLS>;

  /**
   * Opens the C library.
   *
   * @throws {SocketError} On other systems, or without the permission to.
   */
  constructor() {
    if (Deno.build.os !== "linux") {
      throw new SocketError(`sockets are passed on by Linux only, and this is ${Deno.build.os}`);
    }
    try {
      this.#library = Deno.dlopen(LIBRARY, SYMBOLS);
    } catch (error) {
      throw new SocketError(`${LIBRARY} cannot be called: ${describeError(error)}`);
    }
  }

  get #c() {
    return this.#library.symbols;
  }

  /**
   * The address of an inherited listening socket.
   *
   * @throws {SocketError} When the descriptor is none.
   */
  addressOf(fd: number): SocketAddress {
    if (!this.#isListening(fd)) {
      throw new SocketError(
        `descriptor ${fd} is no listening socket; accepted is one that this process has inherited`,
      );
    }
    const address = this.#readAddress(fd);
    if (address !== undefined) return address;
    throw new SocketError(`descriptor ${fd} listens to another kind of address than TCP and Unix`);
  }

  #option(fd: number, option: number): number {
    const value = new Int32Array(1);
    const size = new Uint32Array([value.byteLength]);
    return this.#c.getsockopt(fd, SOL_SOCKET, option, value, size) === 0 ? value[0]! : -1;
  }

  #isListening(fd: number): boolean {
    return this.#option(fd, SO_ACCEPTCONN) === 1 && this.#option(fd, SO_TYPE) === SOCK_STREAM;
  }

  #readAddress(fd: number): SocketAddress | undefined {
    const bytes = new Uint8Array(MAX_SOCKADDR);
    const size = new Uint32Array([bytes.length]);
    if (this.#c.getsockname(fd, bytes, size) !== 0) return undefined;
    return decodeAddress(bytes.subarray(0, size[0]));
  }

  /**
   * The descriptor of a listening socket of this process, by the address that it is bound to.
   *
   * @throws {SocketError} When there is none, or `/proc` cannot be read.
   */
  find(address: SocketAddress): number {
    return this.#findAll(address)[0]!;
  }

  #findAll(address: SocketAddress): number[] {
    const found = listDescriptors()
      .filter((fd) => this.#isListening(fd) && isSame(this.#readAddress(fd), address));
    if (found.length > 0) return found;
    throw new SocketError(`no descriptor of this process listens on ${describe(address)}`);
  }

  #findPolled(address: SocketAddress): Polled & { readonly target: number } {
    for (const target of this.#findAll(address)) {
      const polled = findPoll(target);
      if (polled !== undefined) return { ...polled, target };
    }
    throw new SocketError("the runtime does not poll its sockets with epoll");
  }

  /**
   * Another descriptor of the same socket, which programs that are started inherit.
   *
   * @throws {SocketError} When the system has none left.
   */
  duplicate(fd: number): number {
    const copy = this.#c.dup(fd);
    if (copy < 0) throw new SocketError(`descriptor ${fd} cannot be duplicated`);
    return copy;
  }

  /** Keeps programs that are started from inheriting a descriptor. */
  keep(fd: number): void {
    this.#c.fcntl(fd, F_SETFD, FD_CLOEXEC);
  }

  /** Closes a descriptor that the runtime does not know of. */
  close(fd: number): void {
    this.#c.close(fd);
  }

  /**
   * Puts a socket in the place of one that the runtime listens on, which is closed by that. From then on the
   * runtime's listener accepts from the other one; `fd` stays open.
   *
   * The runtime polls its sockets with epoll, under a number of its own (`data`) that /proc tells (proc(5),
   * `/proc/pid/fdinfo`). A descriptor that is replaced leaves the set, so it is added again under that number.
   *
   * @param replaced Where the runtime listens, over the same kind of transport.
   * @throws {SocketError} When the runtime does not poll as expected; nothing has been changed then.
   */
  replace(replaced: SocketAddress, fd: number): void {
    const { target, poll, event } = this.#findPolled(replaced);
    const flags = this.#c.fcntl(fd, F_GETFL, 0);
    this.#c.fcntl(fd, F_SETFL, flags | NONBLOCK);
    if (this.#c.dup3(fd, target, CLOEXEC) < 0) {
      throw new SocketError(`descriptor ${fd} cannot be given to the runtime`);
    }
    if (this.#c.epoll_ctl(poll, EPOLL_CTL_ADD, target, event) < 0) {
      throw new SocketError(`the runtime does not poll descriptor ${fd}`);
    }
  }

  /**
   * Sends a datagram to a Unix socket; a path that begins with `@` is in the abstract namespace.
   *
   * @throws {SocketError} When it is not taken.
   */
  send(path: string, text: string): void {
    const bytes = new TextEncoder().encode(text);
    const address = encodeUnix(path);
    const socket = this.#c.socket(AF_UNIX, SOCK_DGRAM | CLOEXEC | NONBLOCK, 0);
    if (socket < 0) throw new SocketError("there is no socket to send from");
    const sent = this.#c.sendto(
      socket,
      bytes,
      BigInt(bytes.length),
      MSG_NOSIGNAL,
      address,
      address.length,
    );
    this.#c.close(socket);
    if (Number(sent) !== bytes.length) throw new SocketError(`${path} takes no datagram`);
  }

  /** Frees the library. */
  [Symbol.dispose](): void {
    this.#library.close();
  }
}

function listDescriptors(): number[] {
  try {
    return Array.from(Deno.readDirSync("/proc/self/fd"), ({ name }) => Number(name));
  } catch (error) {
    throw new SocketError(`/proc cannot be read: ${describeError(error)}`);
  }
}

/** The epoll set that a descriptor is in, and the event with which it was put there. */
interface Polled {
  readonly poll: number;
  readonly event: Uint8Array;
}

function findPoll(target: number): Polled | undefined {
  const line = new RegExp(`^tfd: +${target} events: +([0-9a-f]+) data: +([0-9a-f]+)`, "m");
  for (const poll of listDescriptors()) {
    let match: RegExpExecArray | null;
    try {
      match = line.exec(Deno.readTextFileSync(`/proc/self/fdinfo/${poll}`));
    } catch {
      // It was that of the list itself, which is closed by now.
      continue;
    }
    if (match !== null) return { poll, event: encodeEvent(match[1]!, match[2]!) };
  }
  return undefined;
}

/** `struct epoll_event`, which is packed on x86_64 only. */
function encodeEvent(events: string, data: string): Uint8Array {
  const packed = Deno.build.arch === "x86_64";
  const bytes = new Uint8Array(packed ? 12 : 16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Number.parseInt(events, 16), true);
  view.setBigUint64(packed ? 4 : 8, BigInt(`0x${data}`), true);
  return bytes;
}

function decodeAddress(bytes: Uint8Array): SocketAddress | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  switch (view.getUint16(0, true)) {
    case AF_INET:
      return {
        transport: "tcp",
        hostname: [...bytes.subarray(4, 8)].join("."),
        port: view.getUint16(2),
      };
    case AF_INET6:
      return { transport: "tcp", hostname: formatIpv6(view), port: view.getUint16(2) };
    case AF_UNIX: {
      const path = bytes.subarray(SUN_PATH);
      // An abstract name has a length, a path ends with NUL.
      const end = path[0] === 0 ? path.length : path.indexOf(0);
      const text = new TextDecoder().decode(end < 0 ? path : path.subarray(0, end));
      return { transport: "unix", path: text };
    }
    default:
      return undefined;
  }
}

/** The address in `struct sockaddr_in6`, in the form of RFC 5952. */
function formatIpv6(view: DataView): string {
  const groups = Array.from({ length: 8 }, (_, i) => view.getUint16(8 + 2 * i).toString(16));
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}

function encodeUnix(path: string): Uint8Array<ArrayBuffer> {
  const abstract = path.startsWith("@");
  const text = new TextEncoder().encode(abstract ? `\0${path.slice(1)}` : `${path}\0`);
  if (text.length > MAX_SUN_PATH) {
    throw new SocketError(`${path} is longer than the path of a socket may be`);
  }
  const bytes = new Uint8Array(SUN_PATH + text.length);
  new DataView(bytes.buffer).setUint16(0, AF_UNIX, true);
  bytes.set(text, SUN_PATH);
  return bytes;
}

function isSame(a: SocketAddress | undefined, b: SocketAddress): boolean {
  if (a === undefined) return false;
  if (a.transport === "unix") return b.transport === "unix" && a.path === b.path;
  return b.transport === "tcp" && a.port === b.port && a.hostname === b.hostname;
}

function describe(address: SocketAddress): string {
  return address.transport === "unix"
    ? `unix:${address.path}`
    : `${address.hostname} port ${address.port}`;
}
