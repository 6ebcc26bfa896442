/**
 * What cases of HTTP/2 are, and are made of.
 *
 * @module
 */
import type { AbuseToken } from "../../../lib/http/h2/budget.ts";
import { H2Code } from "../../../lib/http/h2/errors.ts";
import { encodeBlock, type Fields } from "../../support/h2_peer.ts";
import { headers as headersOf } from "../../support/h2_raw.ts";
import { callFields } from "../../support/h2_wire.ts";

/** What must become of the frames. */
export type Verdict =
  /** GOAWAY with this code, and the end of the connection. */
  | { readonly type: "goaway"; readonly code: H2Code; readonly reason?: AbuseToken }
  /** RST_STREAM with this code on the first stream; the connection goes on. */
  | { readonly type: "reset"; readonly code: H2Code }
  /** The first stream is answered with 200. */
  | { readonly type: "served" };

/** Frames behind the greeting, and the verdict. */
export interface Http2Case {
  /** A short name that stays. */
  readonly id: string;
  /** What is wrong, or why it is right. */
  readonly why: string;
  /** RFC 9113, unless another one is named. */
  readonly section: string;
  /** The frames, whose first stream is `id`. */
  readonly frames: (id: number) => readonly Uint8Array[];
  readonly verdict: Verdict;
  /** How many of the requests may reach the backend, at most; none unless given. */
  readonly forwarded?: number;
}

/** Flags of HEADERS: END_HEADERS, alone and with END_STREAM. */
export const OPEN = 0x4;
export const END = 0x5;
/** The head of a call. */
export const REQUEST: Fields = callFields("/a");
/** That of one that its backend never answers. */
export const HELD: Fields = callFields("/hold");
/** The first as a field block. */
export const block: Uint8Array = encodeBlock(REQUEST);

/** A HEADERS frame; that of a whole call unless flags and fields are given. */
export function headers(id: number, flags: number = END, fields: Fields = REQUEST): Uint8Array {
  return headersOf(id, flags, fields);
}

/** The verdict GOAWAY. */
export function goaway(code: H2Code): Verdict {
  return { type: "goaway", code };
}

/** The verdict on a flood: GOAWAY with ENHANCE_YOUR_CALM, counted under this reason. */
export function flood(reason: AbuseToken): Verdict {
  return { type: "goaway", code: H2Code.EnhanceYourCalm, reason };
}
