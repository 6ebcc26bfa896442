/**
 * How much of what was written the peer's system has acknowledged. The runtime does not say: a write is pending until
 * a third of the send buffer is free, which may be more than a slow reader takes in minutes. On Linux the system is
 * asked by its C library (`--allow-ffi`).
 *
 * @module
 */
import { parseIp } from "./address.ts";

const SYMBOLS = {
  close: { parameters: ["i32"], result: "i32" },
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  sendto: { parameters: ["i32", "buffer", "usize", "i32", "buffer", "u32"], result: "isize" },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
} as const;

/** The C library of GNU, for which the runtime is built on Linux. */
const LIBRARY = "libc.so.6";

// Numbers of <linux/*.h> and <asm-generic/*.h>, the same on x86_64 and aarch64.
const AF_INET = 2;
const AF_INET6 = 10;
const AF_NETLINK = 16;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const NETLINK_SOCK_DIAG = 4;
const SOCK_DIAG_BY_FAMILY = 20;
const NLM_F_REQUEST = 1;
const IPPROTO_TCP = 6;
const MSG_DONTWAIT = 0x40;
const INET_DIAG_INFO = 2;
/** Bytes of `struct nlmsghdr`, and of it with `struct inet_diag_req_v2` or `struct inet_diag_msg` behind it. */
const HEADER_SIZE = 16;
const REQUEST_SIZE = HEADER_SIZE + 56;
const ANSWER_SIZE = HEADER_SIZE + 72;
/** Where the ports begin in a request, behind which both addresses stand. */
const PORTS_AT = HEADER_SIZE + 8;
const ADDRESS_SIZE = 16;
/** Where `tcpi_bytes_acked` stands in `struct tcp_info`. */
const ACKNOWLEDGED_AT = 120;
/** More than a system says of one connection. */
const MAX_ANSWER = 4096;

const little = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** One end of a connection, its address as the runtime says it. */
interface End {
  readonly hostname: string;
  readonly port: number;
}

/**
 * The bytes of a TCP connection that the peer's system has acknowledged in all, the beginning of the connection
 * counting as one; sock_diag(7). It takes some 100 µs.
 *
 * @returns `undefined` where nobody can tell: on other systems, without the permission, or when the connection is gone.
 */
export function readAcknowledged(local: Deno.Addr, remote: Deno.Addr): number | undefined {
  if (Deno.build.os !== "linux" || local.transport !== "tcp" || remote.transport !== "tcp") {
    return undefined;
  }
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") return undefined;
  const request = encodeRequest(local, remote);
  const answer = request === undefined ? undefined : ask(request);
  return answer === undefined ? undefined : findAcknowledged(answer);
}

/** What the system says to a request, as far as it says anything. */
function ask(request: Uint8Array<ArrayBuffer>): Uint8Array | undefined {
  let library;
  try {
    library = Deno.dlopen(LIBRARY, SYMBOLS);
  } catch {
    // Another C library than that of GNU.
    return undefined;
  }
  const { socket, sendto, recv, close } = library.symbols;
  try {
    const fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0) return undefined;
    const answer = new Uint8Array(MAX_ANSWER);
    // The system answers inside of `sendto`, so there is nothing to wait for.
    const sent = sendto(fd, request, BigInt(request.length), 0, null, 0);
    const count = sent < 0n ? sent : recv(fd, answer, BigInt(MAX_ANSWER), MSG_DONTWAIT);
    close(fd);
    return count < 0n ? undefined : answer.subarray(0, Number(count));
  } finally {
    library.close();
  }
}

/** A request for one connection; exported for its test. `undefined` for addresses that are no numbers. */
export function encodeRequest(local: End, remote: End): Uint8Array<ArrayBuffer> | undefined {
  const from = bytesOf(local.hostname);
  const to = bytesOf(remote.hostname);
  if (from === undefined || to === undefined) return undefined;
  const bytes = new Uint8Array(REQUEST_SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, REQUEST_SIZE, little);
  view.setUint16(4, SOCK_DIAG_BY_FAMILY, little);
  view.setUint16(6, NLM_F_REQUEST, little);
  bytes[HEADER_SIZE] = from.length === 4 ? AF_INET : AF_INET6;
  bytes[HEADER_SIZE + 1] = IPPROTO_TCP;
  bytes[HEADER_SIZE + 2] = 1 << (INET_DIAG_INFO - 1);
  // In any state.
  view.setUint32(HEADER_SIZE + 4, 0xffff_ffff, little);
  view.setUint16(PORTS_AT, local.port);
  view.setUint16(PORTS_AT + 2, remote.port);
  bytes.set(from, PORTS_AT + 4);
  bytes.set(to, PORTS_AT + 4 + ADDRESS_SIZE);
  // Behind them the interface, which need not be named, and no cookie (INET_DIAG_NOCOOKIE).
  bytes.fill(0xff, REQUEST_SIZE - 8);
  return bytes;
}

/** What an answer says has been acknowledged; exported for its test. */
export function findAcknowledged(answer: Uint8Array): number | undefined {
  if (answer.length < ANSWER_SIZE) return undefined;
  const view = new DataView(answer.buffer, answer.byteOffset, answer.length);
  if (view.getUint16(4, little) !== SOCK_DIAG_BY_FAMILY) return undefined;
  for (let at = ANSWER_SIZE; at + 4 <= answer.length;) {
    const length = view.getUint16(at, little);
    const value = at + 4 + ACKNOWLEDGED_AT;
    const whole = value + 8 <= Math.min(at + length, answer.length);
    if (whole && view.getUint16(at + 2, little) === INET_DIAG_INFO) {
      return Number(view.getBigUint64(value, little));
    }
    if (length < 4) break;
    at += (length + 3) & ~3;
  }
  return undefined;
}

/** The bytes of an address: four, or sixteen. */
function bytesOf(host: string): number[] | undefined {
  // A zone (`%eth0`) is the interface, which need not be named.
  return parseIp(host.split("%")[0]!)?.toByteArray();
}
