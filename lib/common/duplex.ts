/**
 * The one socket type that the core knows. What carries the bytes (TCP, TLS, a Unix socket, memory)
 * is hidden behind it.
 *
 * @module
 */
import { readAcknowledged } from "./acknowledged.ts";

/** Where a peer is, as far as the transport says. */
export interface PeerAddress {
  /** The IP address as text, or `unix` for a Unix socket, or `memory` for a pair in the process. */
  readonly hostname: string;
  /** The TCP port; 0 where there is none. */
  readonly port: number;
}

/**
 * A byte stream in both directions. Like a socket it may be half closed: after `closeWrite()` the
 * peer reads the end, and reading from it goes on.
 */
export interface Duplex {
  /** The peer. */
  readonly remote: PeerAddress;
  /** Our own end. */
  readonly local: PeerAddress;
  /**
   * Reads at least one byte into `into` and resolves to their count, or to `null` at the end. The
   * buffer belongs to the read until it settles: two pending reads must never share one.
   */
  read(into: Uint8Array): Promise<number | null>;
  /** Writes some of `bytes` and resolves to their count, which may be short. */
  write(bytes: Uint8Array): Promise<number>;
  /** Tells the peer that nothing more will come. */
  closeWrite(): Promise<void>;
  /** Frees the socket; pending reads and writes fail. May be called more than once, never throws. */
  close(): void;
  /**
   * Asked when a write has been pending for long: whether the peer has taken anything all the same since this was
   * asked last, as far as the transport can tell. Where it cannot, it is left out, or answers `false`.
   */
  isTaking?(): boolean;
}

/** Writes all of `bytes`, however often the transport takes only some. */
export async function writeAll(duplex: Duplex, bytes: Uint8Array): Promise<void> {
  let written = await duplex.write(bytes);
  while (written < bytes.length) written += await duplex.write(bytes.subarray(written));
}

/** How a listener on `[::]` sees IPv4 peers (RFC 4291, section 2.5.5.2); they are shown as they are. */
const MAPPED = /^::ffff:(?=\d+\.)/;

function peerAddress(address: Deno.Addr): PeerAddress {
  return address.transport === "tcp"
    ? { hostname: address.hostname.replace(MAPPED, ""), port: address.port }
    : { hostname: "unix", port: 0 };
}

/** A {@linkcode Duplex} over a connection of the Deno runtime. */
export class ConnDuplex implements Duplex {
  readonly #conn: Deno.Conn;
  #closed = false;
  #remote: PeerAddress | undefined;
  /** What the peer had acknowledged when that was looked at last. */
  #acknowledged: number | undefined;

  /** Takes the connection over. Nagle's algorithm is turned off where the transport has it. */
  constructor(conn: Deno.Conn) {
    this.#conn = conn;
    // Deno leaves Nagle's algorithm on: 42 ms instead of 0.07 for a write-write-read exchange.
    if ("setNoDelay" in conn) (conn as Deno.TcpConn).setNoDelay(true);
  }

  get remote(): PeerAddress {
    return this.#remote ??= peerAddress(this.#conn.remoteAddr);
  }

  get local(): PeerAddress {
    return peerAddress(this.#conn.localAddr);
  }

  read(into: Uint8Array): Promise<number | null> {
    return this.#conn.read(into);
  }

  write(bytes: Uint8Array): Promise<number> {
    return this.#conn.write(bytes);
  }

  closeWrite(): Promise<void> {
    return this.#conn.closeWrite();
  }

  /** The first answer is `true` wherever the system can be asked: nobody has looked before. */
  isTaking(): boolean {
    const { localAddr, remoteAddr } = this.#conn;
    const before = this.#acknowledged;
    this.#acknowledged = readAcknowledged(localAddr, remoteAddr);
    return this.#acknowledged !== before && this.#acknowledged !== undefined;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#conn.close();
    } catch (error) {
      // A failed TLS handshake has freed the resource already; there is nothing left to close.
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  }
}
