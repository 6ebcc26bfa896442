/**
 * Opens connections to backends.
 *
 * @module
 */
import { type Address, formatAddress } from "../common/address.ts";
import { lacksDescriptors } from "../common/descriptors.ts";
import { ConnDuplex, type Duplex } from "../common/duplex.ts";
import { ProxyError } from "../common/errors.ts";

/** How connections to backends are opened. */
export interface ConnectOptions {
  /** Milliseconds until a connection, TLS included, must be there. */
  readonly timeout: number;
  /** Certificates in PEM that are trusted for TLS beside the well-known ones. */
  readonly caCerts?: readonly string[];
  /** What TLS agrees on with the backend; `http/1.1` unless given. */
  readonly alpn?: "h2" | "http/1.1";
}

/** Opens a connection to an address; rejects with a {@linkcode ProxyError}. */
export type Connect = (address: Address, options: ConnectOptions) => Promise<Duplex>;

/**
 * Connects over TCP, TLS (`https`, `grpcs`) or a Unix socket.
 *
 * @throws {ProxyError} `connect_refused`, `connect_timeout`, `connect_failed` or, when the certificate
 * is not good or the handshake fails otherwise, `tls_failed`; none of them has sent a byte of a request,
 * so each may be tried elsewhere.
 */
export async function connect(address: Address, options: ConnectOptions): Promise<Duplex> {
  const expired = new AbortController();
  const { signal } = expired;
  const timer = setTimeout(() => expired.abort(), options.timeout);
  try {
    return await open(address, options, signal);
  } catch (error) {
    const where = formatAddress(address);
    if (signal.aborted) {
      throw new ProxyError(
        "connect_timeout",
        "upstream",
        `no connection to ${where} within ${options.timeout} ms`,
        { retry: "safe", cause: error },
      );
    }
    if (error instanceof ProxyError) throw error;
    const refused = error instanceof Deno.errors.ConnectionRefused;
    throw new ProxyError(
      refused ? "connect_refused" : "connect_failed",
      "upstream",
      `cannot connect to ${where}`,
      { retry: "safe", cause: error },
    );
  } finally {
    clearTimeout(timer);
  }
}

/** How long room is waited for when there was no descriptor for a connection, in milliseconds. */
const ROOM_MS = 50;

/**
 * Connects as {@linkcode connect} does. Where there is no descriptor for it, others are asked for, and then it is
 * tried once more.
 *
 * @param makeRoom Asks whoever has descriptors that he does not need to give them back.
 */
export function makeConnect(makeRoom: () => void): Connect {
  return async (address, options) => {
    try {
      return await connect(address, options);
    } catch (error) {
      if (!(error instanceof ProxyError && lacksDescriptors(error.cause))) throw error;
      makeRoom();
      await new Promise((resolve) => setTimeout(resolve, ROOM_MS));
      return await connect(address, options);
    }
  };
}

async function open(
  address: Address,
  options: ConnectOptions,
  signal: AbortSignal,
): Promise<Duplex> {
  if (address.transport === "unix") {
    return new ConnDuplex(await Deno.connect({ transport: "unix", path: address.path }));
  }
  const conn = await Deno.connect({ hostname: address.host, port: address.port, signal });
  const duplex = new ConnDuplex(conn);
  if (address.scheme !== "https" && address.scheme !== "grpcs") return duplex;
  try {
    return await handshake(conn, address.host, options, signal);
  } catch (error) {
    duplex.close();
    if (signal.aborted) throw error;
    throw new ProxyError(
      "tls_failed",
      "upstream",
      `no TLS connection to ${formatAddress(address)}`,
      { retry: "safe", cause: error },
    );
  }
}

async function handshake(
  conn: Deno.TcpConn,
  hostname: string,
  { alpn = "http/1.1", caCerts }: ConnectOptions,
  signal: AbortSignal,
): Promise<Duplex> {
  const tls = await Deno.startTls(conn, {
    hostname,
    alpnProtocols: [alpn],
    ...(caCerts === undefined ? {} : { caCerts: [...caCerts] }),
  });
  const duplex = new ConnDuplex(tls);
  const close = () => duplex.close();
  signal.addEventListener("abort", close);
  try {
    signal.throwIfAborted();
    await tls.handshake();
    signal.throwIfAborted();
    return duplex;
  } catch (error) {
    close();
    throw error;
  } finally {
    signal.removeEventListener("abort", close);
  }
}
