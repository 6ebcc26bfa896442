/**
 * One HTTP health check: a connection of its own, one request, and what the answer says.
 *
 * @module
 */
import { type Address, formatHostPort } from "../../common/address.ts";
import { ByteReader } from "../../common/byte_reader.ts";
import { type Duplex, writeAll } from "../../common/duplex.ts";
import { ChunkedDecoder } from "../../http/h1/chunked.ts";
import { INCOMPLETE, REFUSED } from "../../http/h1/fields.ts";
import { ResponseHead } from "../../http/h1/response.ts";
import { CheckFailure, GOOD_STATUSES, type HealthCheck } from "./check.ts";

/** The most of a head or a body that is looked at, in bytes. */
const MAX_BYTES = 64 * 1024;

/**
 * Asks over a connection and closes it.
 *
 * @throws {CheckFailure} With a message for people when the answer is not good, or there is none.
 */
export async function askHttp(
  duplex: Duplex,
  address: Address,
  check: Extract<HealthCheck, { type: "http" }>,
): Promise<void> {
  try {
    const { method = "GET", path, statuses = GOOD_STATUSES, body } = check;
    const host = check.host ??
      (address.transport === "tcp"
        ? formatHostPort(address.serverName ?? address.host, address.port)
        : "localhost");
    await writeAll(
      duplex,
      new TextEncoder().encode(
        `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\nUser-Agent: lb-health\r\nConnection: close\r\n\r\n`,
      ),
    );
    const reader = new ByteReader(duplex, MAX_BYTES);
    const head = await readHead(reader, method === "HEAD");
    if (!statuses.some(([from, to]) => from <= head.status && head.status <= to)) {
      throw new CheckFailure(`status ${head.status}`);
    }
    if (body === undefined) return;
    const text = new TextDecoder().decode(await readBody(reader, head));
    if (!text.includes(body)) {
      throw new CheckFailure(`the body does not contain ${JSON.stringify(body)}`);
    }
  } finally {
    duplex.close();
  }
}

async function readHead(reader: ByteReader, noBody: boolean): Promise<ResponseHead> {
  const head = new ResponseHead();
  for (;;) {
    const end = head.parse(reader.buffer, reader.start, reader.end, noBody);
    if (end === REFUSED) throw new CheckFailure(`the answer is malformed: ${head.detail}`);
    if (end === INCOMPLETE) {
      if (reader.available === MAX_BYTES) {
        throw new CheckFailure("the head of the answer is too long");
      }
      if (!await reader.fill()) throw new CheckFailure("the connection ended without an answer");
      continue;
    }
    reader.start = end;
    if (head.status >= 200) return head;
  }
}

/** The body, or as much of it as is looked at. */
async function readBody(reader: ByteReader, head: ResponseHead): Promise<Uint8Array> {
  const { framing } = head;
  const decoder = framing.type === "chunked" ? new ChunkedDecoder() : undefined;
  const limit = framing.type === "none"
    ? 0
    : Math.min(framing.type === "length" ? framing.length : MAX_BYTES, MAX_BYTES);
  const body = new Uint8Array(limit);
  let length = 0;
  const take = (start: number, end: number) => {
    const piece = reader.buffer.subarray(start, Math.min(end, start + limit - length));
    body.set(piece, length);
    length += piece.length;
  };
  while (length < limit && !decoder?.done) {
    if (reader.available === 0 && !await reader.fill()) break;
    if (decoder === undefined) {
      take(reader.start, reader.end);
      reader.start = reader.end;
      continue;
    }
    reader.start = decoder.next(reader.buffer, reader.start, reader.end);
    if (decoder.refused) throw new CheckFailure("the chunked body of the answer is malformed");
    take(decoder.dataStart, decoder.dataEnd);
  }
  return body.subarray(0, length);
}
