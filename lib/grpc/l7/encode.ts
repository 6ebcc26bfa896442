/**
 * The field blocks of a call on their way through the proxy.
 *
 * @module
 */
import type { Forwarding } from "../../http/forwarded.ts";
import { forwardedElement } from "../../http/forwarded.ts";
import { ByteWriter } from "../../http/h1/writer.ts";
import { type EncodedName, encodeName, Encoder } from "../../http/h2/hpack/encoder.ts";
import type { FieldList } from "../../http/h2/hpack/field_list.ts";
import { nameFlags } from "../../http/h2/hpack/names.ts";
import type { H2RequestHead } from "../../http/h2/request_head.ts";
import type { CompiledChanges } from "../../http/field_changes.ts";
import type { ProxyPlan } from "../../http/l7/plan.ts";
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

const COPY_ALL = nameFlags();
const NO_PATH = nameFlags(":path");
const OWN_FORWARDING = nameFlags(
  "x-forwarded-for",
  "x-forwarded-proto",
  "x-forwarded-host",
  "forwarded",
);

/** The request's block as the backend gets it: what carries no state is copied as it came. */
export function encodeRequest(
  head: H2RequestHead,
  plan: ProxyPlan,
  forwarding: Forwarding,
): Uint8Array {
  const { fields, pseudoCount } = head;
  const out = begin();
  const skipPath = plan.target === undefined ? COPY_ALL : NO_PATH;
  encoder.copy(out, fields, { skip: skipPath }, { to: pseudoCount });
  if (plan.target !== undefined) encoder.field(out, PATH, plan.target);
  if (!head.hasAuthority) encoder.field(out, AUTHORITY, head.authority);
  const { mode } = forwarding;
  encoder.copy(
    out,
    fields,
    { skip: mode === "off" ? COPY_ALL : OWN_FORWARDING, drop: plan.requestChanges?.drop },
    { from: pseudoCount },
  );
  if (mode !== "off") encodeForwarding(out, head, forwarding);
  encodeChanges(out, plan.requestChanges);
  return out.written.slice();
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
export function encodeOwnRequest(head: H2RequestHead, caller: string): Uint8Array {
  const { fields } = head;
  const out = begin();
  encoder.copy(out, fields, { skip: COPY_ALL, drop: FORGED_CALLER });
  encoder.field(out, CALLER, caller);
  return out.written.slice();
}

/** A response's head or trailers as the client gets them; valid until the next block is encoded. */
export function encodeResponse(
  fields: FieldList,
  changes: CompiledChanges | undefined,
): Uint8Array {
  const out = begin();
  encoder.copy(out, fields, { skip: COPY_ALL, drop: changes?.drop });
  encodeChanges(out, changes);
  return out.written;
}
