/**
 * Opens connections to backends.
 *
 * @module
 */
import { type Address, formatAddress } from "../common/address.ts";
import { ConnDuplex, type Duplex } from "../common/duplex.ts";
import { ProxyError } from "../common/errors.ts";
import { findLocalLack, type LocalLack } from "../common/local_lack.ts";

/** How connections to backends are opened. */
export interface ConnectOptions {
  /** Milliseconds until a connection, TLS included, must be there. */
  readonly timeout: number;
  /** Certificates in PEM that are trusted for TLS beside the well-known ones. */
  readonly caCerts?: readonly string[];
  /** What TLS agrees on with the backend; `http/1.1` unless given. */
  readonly alpn?: "h2" | "http/1.1";
  /** Ends the attempt, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Opens a connection to an address; rejects with a {@linkcode ProxyError}. */
export type Connect = (address: Address, options: ConnectOptions) => Promise<Duplex>;

/**
 * Connects over TCP, TLS (`https`, `grpcs`) or a Unix socket.
 *
 * @throws {ProxyError} `connect_refused`, `connect_timeout`, `connect_failed` or, when the certificate
 * is not good or the handshake fails otherwise, `tls_failed`; none of them has sent a byte of a request,
 * so each may be tried elsewhere. `local_exhausted` when it is this host that could not: then it may be tried
 * elsewhere only for want of a local port, as ports are given out for each destination, while all connections need
 * a descriptor and memory.
 */
export async function connect(address: Address, options: ConnectOptions): Promise<Duplex> {
  const expired = new AbortController();
  const { signal } = expired;
  const end = () => expired.abort();
  const timer = setTimeout(end, options.timeout);
  options.signal?.addEventListener("abort", end);
  try {
    options.signal?.throwIfAborted();
    return await open(address, options, signal);
  } catch (error) {
    options.signal?.throwIfAborted();
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
    const lack = findLocalLack(error);
    if (lack !== undefined) throw exhaustedHere(lack, where, error);
    const refused = error instanceof Deno.errors.ConnectionRefused;
    throw new ProxyError(
      refused ? "connect_refused" : "connect_failed",
      "upstream",
      `cannot connect to ${where}`,
      { retry: "safe", cause: error },
    );
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", end);
  }
}

/** Watches whether connections to one backend can be opened. */
export interface ConnectWatch {
  /** One is going to be opened. What is returned is told with its failure. */
  begin(): number;
  /** There is one. */
  onConnected(): void;
  /** There is none, and nothing was sent; `begun` is what {@linkcode begin} has returned. */
  onUnreached(error: ProxyError, begun: number): void;
}

/** Opens a connection by `open`, and tells who watches what comes of it. */
export async function openWatched<T>(
  watch: ConnectWatch | undefined,
  open: () => Promise<T>,
): Promise<T> {
  if (watch === undefined) return await open();
  const begun = watch.begin();
  try {
    const connection = await open();
    watch.onConnected();
    return connection;
  } catch (error) {
    // That we have no descriptor left, or the client has gone, says nothing about the backend.
    if (error instanceof ProxyError && error.side === "upstream") watch.onUnreached(error, begun);
    throw error;
  }
}

function exhaustedHere(lack: LocalLack, where: string, cause: unknown): ProxyError {
  return new ProxyError(
    "local_exhausted",
    "internal",
    `no connection to ${where}, because this host has no ${lack} left`,
    { retry: lack === "ports" ? "safe" : "never", cause },
  );
}

/** How long room is waited for when there was none for a connection, in milliseconds. */
const ROOM_MS = 50;

/**
 * Connects as {@linkcode connect} does. Where there is no descriptor or memory for it, others are asked for some, and
 * then it is tried once more.
 *
 * @param makeRoom Asks whoever has connections that he does not need to close them.
 */
export function makeConnect(makeRoom: () => void): Connect {
  return async (address, options) => {
    try {
      return await connect(address, options);
    } catch (error) {
      if (!isLocal(error) || error.retry === "safe") throw error;
      makeRoom();
      await new Promise((resolve) => setTimeout(resolve, ROOM_MS));
      return await connect(address, options);
    }
  };
}

/** Whether a connection failed for what this host lacks, so that it says nothing about the backend. */
export function isLocal(
  error: unknown,
): error is ProxyError & { readonly code: "local_exhausted" } {
  return error instanceof ProxyError && error.code === "local_exhausted";
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
    return await handshake(conn, address.serverName ?? address.host, options, signal);
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
