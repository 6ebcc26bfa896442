/**
 * The field blocks of a call on their way through the proxy.
 *
 * @module
 */
import { requestSlab } from "../../common/slab.ts";
import type { Forwarding } from "../../http/forwarded.ts";
import { forwardedElement } from "../../http/forwarded.ts";
import { ByteWriter } from "../../http/h1/writer.ts";
import { type EncodedName, encodeName, Encoder } from "../../http/h2/hpack/encoder.ts";
import type { FieldList } from "../../http/h2/hpack/field_list.ts";
import { nameFlags } from "../../http/h2/hpack/names.ts";
import type { H2RequestHead } from "../../http/h2/request_head.ts";
import type { CompiledChanges } from "../../http/field_changes.ts";
import type { ProxyPlan } from "../../http/l7/plan.ts";
import { encodeTimeout } from "../timeout.ts";
import { CALLER_KEY } from "./context.ts";

// It writes blocks that mean the same on every connection; the connection adds what its peer waits for.
const encoder = new Encoder();
/** What blocks are put together in; they are copied out before the next one begins. */
const scratch = new ByteWriter(new Uint8Array(4096));

function begin(): ByteWriter {
  scratch.at = 0;
  return scratch;
}

const AUTHORITY: EncodedName = encodeName(":authority");
const PATH: EncodedName = encodeName(":path");
const X_FORWARDED_FOR: EncodedName = encodeName("x-forwarded-for");
const X_FORWARDED_PROTO: EncodedName = encodeName("x-forwarded-proto");
const X_FORWARDED_HOST: EncodedName = encodeName("x-forwarded-host");
const FORWARDED: EncodedName = encodeName("forwarded");
const GRPC_TIMEOUT: EncodedName = encodeName("grpc-timeout");

const COPY_ALL = nameFlags();
const NO_PATH = nameFlags(":path");
const OWN_FORWARDING = nameFlags(
  "x-forwarded-for",
  "x-forwarded-proto",
  "x-forwarded-host",
  "forwarded",
);

/** A request's field block as a backend gets it. */
export interface RequestBlock {
  /** The block. */
  readonly bytes: Uint8Array;
  /** Where the field `grpc-timeout` begins and ends in it; nowhere when these are the same. */
  readonly timeoutStart: number;
  readonly timeoutEnd: number;
}

/** A block that came twice, and what else it was made of. */
class KnownRequest {
  readonly plan: ProxyPlan;
  readonly forwarding: Forwarding;
  readonly block: RequestBlock;

  constructor(plan: ProxyPlan, forwarding: Forwarding, block: RequestBlock) {
    this.plan = plan;
    this.forwarding = forwarding;
    // It may be kept for long, so it gets memory of its own.
    this.block = { ...block, bytes: block.bytes.slice() };
  }
}

/** The same of a response. */
class KnownResponse {
  readonly changes: CompiledChanges | undefined;
  readonly bytes: Uint8Array;

  constructor(changes: CompiledChanges | undefined, bytes: Uint8Array) {
    this.changes = changes;
    this.bytes = bytes.slice();
  }
}

/** Fields that have come once: most never come again, so nothing is kept for them. */
const ONCE = {};

/**
 * The request's block as the backend gets it: what carries no state is copied as it came.
 *
 * Peers repeat themselves. A head whose fields are those of the one before on its connection, and which goes where that
 * went, is the same block, and from the third on it is not made again (`tests/bench/grpc_call_bench.ts`).
 *
 * @param timeoutField The index of `grpc-timeout` in the fields; -1 for none.
 */
export function encodeRequest(
  head: H2RequestHead,
  options: {
    readonly plan: ProxyPlan;
    readonly forwarding: Forwarding;
    readonly timeoutField: number;
  },
): RequestBlock {
  const { fields } = head;
  const { plan, forwarding } = options;
  // Where the path is rewritten there is a plan for each request.
  if (plan.target !== undefined) return makeRequest(head, options);
  const { memo } = fields;
  if (memo instanceof KnownRequest) {
    if (memo.plan === plan && memo.forwarding === forwarding) return memo.block;
    fields.memo = undefined;
  }
  const block = makeRequest(head, options);
  fields.memo = memo === ONCE ? new KnownRequest(plan, forwarding, block) : ONCE;
  return block;
}

function makeRequest(
  head: H2RequestHead,
  { plan, forwarding, timeoutField }: {
    readonly plan: ProxyPlan;
    readonly forwarding: Forwarding;
    readonly timeoutField: number;
  },
): RequestBlock {
  const { fields, pseudoCount } = head;
  const out = begin();
  const skipPath = plan.target === undefined ? COPY_ALL : NO_PATH;
  encoder.copy(out, fields, { skip: skipPath }, { to: pseudoCount });
  if (plan.target !== undefined) encoder.field(out, PATH, plan.target);
  if (!head.hasAuthority) encoder.field(out, AUTHORITY, head.authority);
  const { mode } = forwarding;
  const filter = {
    skip: mode === "off" ? COPY_ALL : OWN_FORWARDING,
    drop: plan.requestChanges?.drop,
  };
  let timeoutStart = 0;
  let timeoutEnd = 0;
  if (timeoutField < 0) encoder.copy(out, fields, filter, { from: pseudoCount });
  else {
    encoder.copy(out, fields, filter, { from: pseudoCount, to: timeoutField });
    timeoutStart = out.at;
    encoder.copy(out, fields, filter, { from: timeoutField, to: timeoutField + 1 });
    timeoutEnd = out.at;
    encoder.copy(out, fields, filter, { from: timeoutField + 1 });
  }
  if (mode !== "off") encodeForwarding(out, head, forwarding);
  encodeChanges(out, plan.requestChanges);
  return { bytes: requestSlab.copy(out.buffer, 0, out.at), timeoutStart, timeoutEnd };
}

/**
 * The head for one try: as it came, or with what is left of the time if it has a timeout.
 *
 * @param time Milliseconds; Infinity leaves what the client has said.
 */
export function encodeForTry(block: RequestBlock, time: number): Uint8Array {
  const { bytes, timeoutStart, timeoutEnd } = block;
  if (time === Infinity || timeoutStart === timeoutEnd) return bytes;
  const out = begin();
  out.range(bytes, 0, timeoutStart);
  encoder.field(out, GRPC_TIMEOUT, encodeTimeout(time));
  out.range(bytes, timeoutEnd, bytes.length);
  return out.written;
}

function encodeForwarding(out: ByteWriter, head: H2RequestHead, forwarding: Forwarding): void {
  const { client, mode, trusted } = forwarding;
  const { fields } = head;
  const before = (name: string) => trusted ? fields.get(name) : undefined;
  const append = (old: string | undefined, own: string) =>
    old === undefined ? own : `${old}, ${own}`;
  if (mode !== "forwarded") {
    encoder.field(out, X_FORWARDED_FOR, append(before("x-forwarded-for"), client.address));
    encoder.field(out, X_FORWARDED_PROTO, before("x-forwarded-proto") ?? client.scheme);
    encoder.field(out, X_FORWARDED_HOST, before("x-forwarded-host") ?? head.authority);
  }
  const old = before("forwarded");
  if (mode !== "x-forwarded" || old !== undefined) {
    encoder.field(out, FORWARDED, append(old, forwardedElement(client, head.authority)));
  }
}

function encodeChanges(out: ByteWriter, changes: CompiledChanges | undefined): void {
  if (changes === undefined) return;
  for (const [name, value] of changes.write) {
    encoder.field(out, encodeName(name.toLowerCase()), value);
  }
}

const CALLER: EncodedName = encodeName(CALLER_KEY);
const FORGED_CALLER: ReadonlySet<string> = new Set([CALLER_KEY]);

/** The block of a call of one of the own services, which are told who calls. */
export function encodeOwnRequest(head: H2RequestHead, caller: string): RequestBlock {
  const { fields } = head;
  const out = begin();
  encoder.copy(out, fields, { skip: COPY_ALL, drop: FORGED_CALLER });
  encoder.field(out, CALLER, caller);
  return {
    bytes: requestSlab.copy(out.buffer, 0, out.at),
    timeoutStart: 0,
    timeoutEnd: 0,
  };
}

/** A response's head or trailers as the client gets them; valid until the next block is encoded. */
export function encodeResponse(
  fields: FieldList,
  changes: CompiledChanges | undefined,
): Uint8Array {
  const { memo } = fields;
  if (memo instanceof KnownResponse && memo.changes === changes) return memo.bytes;
  const out = begin();
  encoder.copy(out, fields, { skip: COPY_ALL, drop: changes?.drop });
  encodeChanges(out, changes);
  const bytes = out.written;
  fields.memo = memo === ONCE ? new KnownResponse(changes, bytes) : ONCE;
  return bytes;
}
