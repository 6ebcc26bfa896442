/**
 * The mixed load of a soak: HTTP, gRPC, WebSockets and connections at layer 4, and among them clients and backends that
 * misbehave. Everything has an outcome that was promised, and is counted by whether it came.
 *
 * @module
 */
import { GrpcLoadClient, type LoadCall } from "../load/grpc_client.ts";
import { MESSAGE, METHOD } from "../load/grpc_service.ts";
import { HttpClient } from "../load/http_client.ts";
import { HTTP_ANSWER, HTTP_FAULTS } from "../load/http_faults.ts";
import { keepPace } from "../load/pace.ts";
import { ANSWERED, type Outcome, Tally } from "../load/tally.ts";

/** Where the balancers listen, on loopback. */
export interface Ports {
  /** HTTP/1.1 and gRPC at layer 7. */
  readonly mux: number;
  readonly httpL4: number;
  readonly grpcL4: number;
}

/** The part of what is done that goes wrong. */
export const FAULT_SHARE = 0.05;

const HOSTNAME = "127.0.0.1";
/** Messages of each stream and each WebSocket, and milliseconds between them. */
const MESSAGES = 5;
const MESSAGE_MS = 200;
/** The deadline of calls that may not be answered: two seconds. */
const DEADLINE = [["grpc-timeout", "2S"]] as const;
/** How long anything may take, in milliseconds. */
const PATIENCE_MS = 20_000;
/** Every how-manieth request at layer 4 goes over a new connection. */
const RENEW = 20;

const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const expected = (what: string, is: boolean): Outcome =>
  is ? ANSWERED : { type: "failed", reason: what, retriable: false };

/** One kind of load. */
export interface Line {
  readonly name: string;
  /** How often, for each second of a load of 1. */
  readonly rate: number;
  /** Does it once; never rejects. */
  readonly run: () => Promise<Outcome>;
  /** Frees what it uses. */
  readonly close?: () => void | Promise<void>;
}

/** Takes one of a list after the other. */
function inTurn<T>(list: readonly T[]): () => T {
  let next = 0;
  return () => list[next++ % list.length]!;
}

/** A connection that says something and is gone. */
async function sayAndLeave(port: number, text: string): Promise<Outcome> {
  try {
    const conn = await Deno.connect({ hostname: HOSTNAME, port });
    await conn.write(new TextEncoder().encode(text));
    conn.close();
    return ANSWERED;
  } catch (error) {
    return expected(`a client that leaves: ${error}`, false);
  }
}

function httpLines({ mux, httpL4 }: Ports): Line[] {
  const l7 = new HttpClient({ hostname: HOSTNAME, port: mux });
  const l4 = new HttpClient({ hostname: HOSTNAME, port: httpL4 });
  const fault = inTurn(Object.keys(HTTP_FAULTS) as (keyof typeof HTTP_FAULTS)[]);
  const part = inTurn(["", "GET", "GET /l", "GET /load HTTP/1.1\r\nHost: a\r\n\r\n"]);
  const upload = "POST /load HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nbegun";
  let l4Requests = 0;
  return [
    {
      name: "HTTP GET",
      rate: 0.4,
      run: () => l7.request({ method: "GET", path: "/load", expected: HTTP_ANSWER }),
      close: () => l7.close(),
    },
    {
      name: "HTTP POST",
      rate: 0.1,
      run: () => l7.request({ method: "POST", path: "/load", expected: HTTP_ANSWER }),
    },
    {
      name: "HTTP from a backend that fails",
      rate: 0.5 * FAULT_SHARE,
      run: async () => {
        const path = fault();
        const got = await l7.fault(path);
        return expected(`${path}: ${got}`, got === HTTP_FAULTS[path].status);
      },
    },
    {
      name: "HTTP clients that leave",
      rate: 0.25 * FAULT_SHARE,
      run: () => sayAndLeave(mux, part()),
    },
    {
      name: "uploads that break off",
      rate: 0.25 * FAULT_SHARE,
      run: () => sayAndLeave(mux, upload),
    },
    {
      name: "layer 4 HTTP",
      rate: 0.2,
      run: () => {
        if (++l4Requests % RENEW === 0) l4.closeIdle();
        return l4.request({ method: "GET", path: "/load", expected: HTTP_ANSWER });
      },
      close: () => l4.close(),
    },
    {
      name: "layer 4 clients that leave",
      rate: 0.2 * FAULT_SHARE,
      run: () => sayAndLeave(httpL4, part()),
    },
  ];
}

function grpcLines({ mux, grpcL4 }: Ports): Line[] {
  const l7 = new GrpcLoadClient({ hostname: HOSTNAME, port: mux, connections: 4 });
  const l4 = new GrpcLoadClient({ hostname: HOSTNAME, port: grpcL4, connections: 4 });
  const chat = async (client: GrpcLoadClient, cancels: boolean): Promise<Outcome> => {
    const use = (call: LoadCall) => {
      let sent = 1;
      call.onContent = (received) => {
        if (received < sent * MESSAGE.length) return;
        if (cancels) return call.cancel();
        if (sent++ === MESSAGES) return;
        setTimeout(() => call.send(MESSAGE, sent === MESSAGES), MESSAGE_MS);
      };
    };
    const { status, reset, received } = await client.through(METHOD.chat, use, { end: false });
    const whole = received === MESSAGES * MESSAGE.length && status === "0";
    return expected(`a stream: status ${status}, ${reset}, ${received} bytes`, cancels || whole);
  };
  const faults = inTurn([
    { path: METHOD.reset, is: "RST_STREAM 2" },
    { path: METHOD.unavailable, is: "14" },
    { path: METHOD.hang, is: "4" },
  ]);
  const failing = async (client: GrpcLoadClient): Promise<Outcome> => {
    const { path, is } = faults();
    const { status, reset } = await client.through(path, () => {}, { fields: DEADLINE });
    return expected(`${path}: status ${status}, ${reset}`, (reset ?? status) === is);
  };
  const lines = (client: GrpcLoadClient, where: string, share: number): Line[] => [
    {
      name: `${where} unary`,
      rate: 0.8 * share,
      run: () => client.call(METHOD.unary),
      close: () => client.close(),
    },
    { name: `${where} streams`, rate: 0.05 * share, run: () => chat(client, false) },
    {
      name: `${where} streams that are cancelled`,
      rate: 0.3 * FAULT_SHARE * share,
      run: () => chat(client, true),
    },
    {
      name: `${where} calls that fail at their backend`,
      rate: 0.6 * FAULT_SHARE * share,
      run: () => failing(client),
    },
    {
      name: `${where} calls behind which the backend says GOAWAY`,
      rate: 0.1 * FAULT_SHARE * share,
      run: () => client.call(METHOD.leave),
    },
  ];
  return [...lines(l7, "gRPC", 0.5), ...lines(l4, "layer 4 gRPC", 0.25)];
}

/** A WebSocket that is used for a second. */
function useWebSocket(port: number): Promise<Outcome> {
  const socket = new WebSocket(`ws://${HOSTNAME}:${port}/load`);
  return new Promise((resolve) => {
    let received = 0;
    socket.onopen = () => socket.send("0");
    socket.onmessage = ({ data }) => {
      if (data !== String(received)) resolve(expected(`a WebSocket: ${data}`, false));
      if (++received === MESSAGES) socket.close();
      else setTimeout(() => socket.send(String(received)), MESSAGE_MS);
    };
    // `onclose` follows and knows what was missing.
    socket.onerror = () => {};
    socket.onclose = ({ code }) =>
      resolve(expected(`a WebSocket: closed ${code} behind ${received}`, received === MESSAGES));
  });
}

/** One that is begun and left alone without a word. */
async function leaveWebSocket(port: number): Promise<Outcome> {
  const fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";
  const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  const conn = await Deno.connect({ hostname: HOSTNAME, port });
  const request = `GET /load HTTP/1.1\r\nHost: load.test\r\n${fields}${key}\r\n`;
  await conn.write(new TextEncoder().encode(request));
  const buffer = new Uint8Array(1024);
  const count = await conn.read(buffer) ?? 0;
  await wait(MESSAGE_MS);
  conn.close();
  const begins = new TextDecoder().decode(buffer.subarray(0, count)).startsWith("HTTP/1.1 101 ");
  return expected("a WebSocket was not begun", begins);
}

/** All kinds. */
export function makeLines(ports: Ports): Line[] {
  return [
    ...httpLines(ports),
    ...grpcLines(ports),
    { name: "WebSockets", rate: 0.03, run: () => useWebSocket(ports.mux) },
    {
      name: "WebSockets that are left",
      rate: 0.1 * FAULT_SHARE,
      run: () => leaveWebSocket(ports.mux),
    },
  ];
}

/** Nothing may be without an end. */
async function runOnce(line: Line): Promise<Outcome> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<Outcome>((resolve) => {
    const outcome = expected(`no end within ${PATIENCE_MS} ms`, false);
    timer = setTimeout(() => resolve(outcome), PATIENCE_MS);
  });
  try {
    return await Promise.race([line.run(), late]);
  } catch (error) {
    return expected(String(error), false);
  } finally {
    clearTimeout(timer);
  }
}

/** Runs all lines until it is told to stop; what came of each. */
export async function runLines(
  lines: readonly Line[],
  { rate, signal }: { readonly rate: number; readonly signal: AbortSignal },
): Promise<Map<string, Tally>> {
  const tallies = new Map<string, Tally>();
  await Promise.all(lines.map(async (line) => {
    const tally = new Tally();
    tallies.set(line.name, tally);
    await keepPace({
      rate: rate * line.rate,
      signal,
      begin: async (due) => {
        const outcome = await runOnce(line);
        tally.note(outcome, performance.now() - due);
      },
    });
  }));
  return tallies;
}
