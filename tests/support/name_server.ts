/**
 * A name server on loopback (RFC 1035) over UDP and TCP that answers, or fails in the way that it is told.
 *
 * @module
 */
import { createSocket, type Socket } from "node:dgram";
import { concat, latin1 } from "./net.ts";

/** What it does with questions. */
export type NameServerMood =
  /** Says what it knows, NXDOMAIN of names that it does not. */
  | "answers"
  /** Says nothing. */
  | "drops"
  /** RCODE 2. */
  | "SERVFAIL"
  /** RCODE 3, whatever it knows. */
  | "NXDOMAIN"
  /** RCODE 5. */
  | "REFUSED"
  /** No error and no record. */
  | "no records"
  /** Bytes that are no message. */
  | "garbage"
  /** A message that ends inside its first record. */
  | "half a message"
  /** TC on UDP, the whole answer on TCP. */
  | "truncates"
  /** TC on UDP, and TCP is closed without a word. */
  | "truncates, and closes TCP";

/** A record that it knows. */
export type NameRecord =
  | { readonly type: "A" | "AAAA"; readonly address: string }
  | {
    readonly type: "SRV";
    readonly priority: number;
    readonly weight: number;
    readonly port: number;
    readonly target: string;
  };

const TYPES = { A: 1, AAAA: 28, SRV: 33 } as const;
const RCODES: Partial<Record<NameServerMood, number>> = { SERVFAIL: 2, NXDOMAIN: 3, REFUSED: 5 };
/** QR, RD, RA. */
const RESPONSE = 0x8180;
/** TC. */
const TRUNCATED = 0x0200;
/** A record that points at the name of the question (RFC 1035, section 4.1.4). */
const QUESTION_NAME = 0xc00c;
const HEADER_SIZE = 12;

/** A name server that listens. */
export class NameServer implements AsyncDisposable {
  readonly #udp: Socket;
  readonly #tcp: Deno.TcpListener;
  readonly #running: Promise<unknown>[];
  readonly #conns = new Set<Deno.Conn>();
  /** What it does from now on. */
  mood: NameServerMood = "answers";
  /** What it knows, by name in lower case without the last dot. */
  readonly records = new Map<string, readonly NameRecord[]>();
  /** Types of records that it says nothing about. */
  readonly silentAbout = new Set<NameRecord["type"]>();
  /** Questions that came, by transport. */
  readonly asked = { udp: 0, tcp: 0 };

  private constructor(udp: Socket, tcp: Deno.TcpListener) {
    this.#udp = udp;
    this.#tcp = tcp;
    udp.on("message", (query: Uint8Array, { address, port }) => {
      this.asked.udp++;
      const response = this.#respond(query, "udp");
      if (response !== undefined) udp.send(response, port, address);
    });
    this.#running = [this.#serveTcp()];
  }

  /** Listens on one port of both transports, a free one unless given. */
  static async listen(port = 0): Promise<NameServer> {
    for (let attempt = 0;; attempt++) {
      const tcp = Deno.listen({ hostname: "127.0.0.1", port });
      const udp = createSocket("udp4");
      try {
        await new Promise<void>((resolve, reject) => {
          udp.once("error", reject);
          udp.bind(tcp.addr.port, "127.0.0.1", () => resolve());
        });
        return new NameServer(udp, tcp);
      } catch (error) {
        // Somebody else may have that port of UDP.
        tcp.close();
        if (attempt === 20) throw error;
      }
    }
  }

  get port(): number {
    return this.#tcp.addr.port;
  }

  /** `127.0.0.1:port` */
  get addr(): string {
    return `127.0.0.1:${this.port}`;
  }

  async #serveTcp(): Promise<void> {
    for await (const conn of this.#tcp) {
      this.#conns.add(conn);
      this.#running.push(this.#serveConn(conn));
    }
  }

  /** RFC 1035, section 4.2.2: each message behind two bytes of length. */
  async #serveConn(conn: Deno.Conn): Promise<void> {
    try {
      for (;;) {
        const size = await readFull(conn, 2);
        if (size === undefined) break;
        const query = await readFull(conn, size[0]! << 8 | size[1]!);
        if (query === undefined) break;
        this.asked.tcp++;
        if (this.mood === "truncates, and closes TCP") break;
        const response = this.#respond(query, "tcp");
        if (response !== undefined) await conn.write(concat(u16(response.length), response));
      }
    } catch (error) {
      if (!isGone(error)) throw error;
    }
    if (this.#conns.delete(conn)) conn.close();
  }

  #respond(query: Uint8Array, transport: "udp" | "tcp"): Uint8Array<ArrayBuffer> | undefined {
    const { mood } = this;
    if (mood === "drops") return undefined;
    if (mood === "garbage") return new Uint8Array(40).fill(0xff);
    const { name, type, end } = parseQuestion(query);
    for (const silent of this.silentAbout) if (TYPES[silent] === type) return undefined;
    const known = this.records.get(name);
    const records = mood === "no records" ? [] : known?.filter((one) => TYPES[one.type] === type);
    const rcode = RCODES[mood] ?? (records === undefined ? RCODES.NXDOMAIN! : 0);
    const truncated = transport === "udp" && mood.startsWith("truncates");
    const answers = rcode === 0 && !truncated ? records!.map(encodeRecord) : [];
    const message = concat(
      query.subarray(0, 2),
      u16(RESPONSE | rcode | (truncated ? TRUNCATED : 0)),
      u16(1),
      u16(answers.length),
      u16(0),
      u16(0),
      query.subarray(HEADER_SIZE, end),
      ...answers,
    ) as Uint8Array<ArrayBuffer>;
    return mood === "half a message" ? message.subarray(0, end + 3) : message;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#udp.close(() => resolve()));
    this.#tcp.close();
    for (const conn of this.#conns) {
      this.#conns.delete(conn);
      conn.close();
    }
    await Promise.all(this.#running);
  }
}

/** Reads so many bytes; nothing at the end. */
async function readFull(conn: Deno.Conn, size: number): Promise<Uint8Array | undefined> {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size;) {
    const count = await conn.read(bytes.subarray(at));
    if (count === null) return undefined;
    at += count;
  }
  return bytes;
}

/** Whether a connection has failed because one of its sides has closed it. */
function isGone(error: unknown): boolean {
  return [
    Deno.errors.BadResource,
    Deno.errors.BrokenPipe,
    Deno.errors.ConnectionReset,
    Deno.errors.Interrupted,
  ].some((kind) => error instanceof kind);
}

/** RFC 1035, section 4.1.2. Only the first question counts. */
function parseQuestion(query: Uint8Array): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = HEADER_SIZE;
  for (let size = query[at++]!; size > 0; size = query[at++]!) {
    labels.push(new TextDecoder().decode(query.subarray(at, at + size)));
    at += size;
  }
  const type = query[at]! << 8 | query[at + 1]!;
  return { name: labels.join(".").toLowerCase(), type, end: at + 4 };
}

/** RFC 1035, section 4.1.3, and RFC 2782; to be kept for no time at all. */
function encodeRecord(record: NameRecord): Uint8Array {
  const data = encodeData(record);
  const ttl = new Uint8Array(4);
  return concat(u16(QUESTION_NAME), u16(TYPES[record.type]), u16(1), ttl, u16(data.length), data);
}

function encodeData(record: NameRecord): Uint8Array {
  switch (record.type) {
    case "A":
      return Uint8Array.from(record.address.split("."), Number);
    case "AAAA": {
      // Written out: eight groups.
      return concat(...record.address.split(":").map((group) => u16(parseInt(group, 16))));
    }
    case "SRV": {
      const labels = record.target.split(".").map((label) => latin1(label));
      const name = labels.map((label) => concat(Uint8Array.of(label.length), label));
      const { priority, weight, port } = record;
      return concat(u16(priority), u16(weight), u16(port), ...name, Uint8Array.of(0));
    }
  }
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 255);
}
