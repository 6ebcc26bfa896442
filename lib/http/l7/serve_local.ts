/**
 * Requests that the balancer answers itself: turned into what `Deno.serve` handlers take, so that one
 * handler serves both.
 *
 * @module
 */
import type { ByteReader } from "../../common/byte_reader.ts";
import type { PeerAddress } from "../../common/duplex.ts";
import type { ErrorCode } from "../../common/errors.ts";
import type { RequestHead } from "../h1/request.ts";
import { ByteWriter } from "../h1/writer.ts";
import { BodyTransfer } from "./body_transfer.ts";
import type { LocalHandler } from "./context.ts";
import { answerTo, problemBody } from "../problem.ts";

/** The largest body of such a request, in bytes. */
const MAX_BODY = 64 * 1024;
/** Methods that a request of the Fetch standard must not have. */
const FORBIDDEN_METHOD = /^(?:connect|trace|track)$/i;
/** Those whose requests have no body there; their case is set right. */
const BODILESS_METHOD = /^(?:get|head)$/i;

/** An answer to send. */
export interface LocalAnswer {
  /** The status code. */
  readonly status: number;
  /** Fields, without those that frame the body. */
  readonly fields: readonly (readonly [string, string])[];
  /** The body. */
  readonly body: Uint8Array<ArrayBuffer>;
  /** Whether the request's body has been read to its end. */
  readonly drained: boolean;
}

const encoder = new TextEncoder();

/** Reads the body and asks the handler. */
export function serveLocal(
  local: LocalHandler,
  head: RequestHead,
  reader: ByteReader,
  remote: PeerAddress,
): Promise<LocalAnswer> {
  // The head is taken apart before anything is awaited: its bytes do not stay.
  const { method, framing } = head;
  const url = `http://${head.authority || "localhost"}${head.target}`;
  // Not every host that a header may name can stand in a URL: 1.2.3.4.5 looks like an IP address and is none.
  if (!URL.canParse(url)) return Promise.resolve(problem("bad_host"));
  if (FORBIDDEN_METHOD.test(method)) return Promise.resolve(problem("method_not_implemented"));
  const fields: [string, string][] = [];
  for (let i = 0; i < head.fields.count; i++) {
    fields.push([head.fields.name(i), head.fields.value(i)]);
  }
  return readAndAsk(
    local,
    new BodyTransfer(reader, framing, false),
    reader,
    remote,
    (body) =>
      new Request(url, {
        method,
        headers: fields,
        body: BODILESS_METHOD.test(method) || body.length === 0 ? null : body,
      }),
  );
}

async function readAndAsk(
  local: LocalHandler,
  transfer: BodyTransfer,
  reader: ByteReader,
  remote: PeerAddress,
  request: (body: Uint8Array<ArrayBuffer>) => Request,
): Promise<LocalAnswer> {
  const out = new ByteWriter(new Uint8Array(4096));
  for (;;) {
    transfer.copyTo(out);
    if (transfer.malformed !== undefined) return problem(transfer.malformed);
    if (transfer.done) break;
    if (out.at === out.buffer.length) {
      if (out.at >= MAX_BODY) return problem("body_too_large");
      out.reserve(1);
    } else if (!await reader.fill()) return problem("client_closed");
  }
  const response = await local.handle(
    request(out.buffer.slice(0, out.at) as Uint8Array<ArrayBuffer>),
    remote,
  );
  const body = new Uint8Array(await response.arrayBuffer());
  return { status: response.status, fields: [...response.headers], body, drained: true };
}

function problem(code: ErrorCode): LocalAnswer {
  return {
    status: answerTo(code).status,
    fields: [["Content-Type", "application/problem+json"]],
    body: encoder.encode(problemBody(code)),
    drained: false,
  };
}
