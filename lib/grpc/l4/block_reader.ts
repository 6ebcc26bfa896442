/**
 * Field blocks of one side of a tunnel, put together from HEADERS and CONTINUATION.
 *
 * @module
 */
import type { AbuseToken } from "../../http/h2/budget.ts";
import { type ConnectionError, connectionError, H2Code } from "../../http/h2/errors.ts";
import { Flag, FrameType, readUint31 } from "../../http/h2/frames.ts";
import type { FieldList } from "../../http/h2/hpack/field_list.ts";
import type { Leg } from "./leg.ts";

/** Bytes of the deprecated priority fields (RFC 9113, section 6.3). */
const PRIORITY_SIZE = 5;

/**
 * What came of a frame.
 *
 * - `more`: the block goes on.
 * - `block`: it is complete and decoded.
 * - `abuse`, `error`: the connection must end.
 */
export type BlockPart =
  | { readonly type: "more" }
  | { readonly type: "block" }
  | { readonly type: "abuse"; readonly token: AbuseToken }
  | { readonly type: "error"; readonly error: ConnectionError };

const MORE: BlockPart = { type: "more" };
const BLOCK: BlockPart = { type: "block" };
const FLOOD: BlockPart = { type: "abuse", token: "field_block_flood" };

/** Puts the blocks of one side together. */
export class BlockReader {
  /** The stream of the block. */
  streamId = 0;
  /** Whether the stream ends with it. */
  endStream = false;
  /** Whether it is above the limits, so that its fields are not all there. */
  tooLarge = false;
  readonly #leg: Leg;
  readonly #fields: FieldList;

  /** @param fields What blocks are decoded into. */
  constructor(leg: Leg, fields: FieldList) {
    this.#leg = leg;
    this.#fields = fields;
  }

  /** Takes the HEADERS or CONTINUATION that `leg.frames` has. */
  add(buffer: Uint8Array): BlockPart {
    const { frames, budget } = this.#leg;
    const fields = this.#fields;
    const first = frames.type === FrameType.Headers;
    // Padding is no content: a frame that is all padding is an empty one.
    const token = first
      ? budget.countHeaders(frames.end - frames.start, frames.endStream)
      : budget.countContinuation(frames.length);
    if (token !== undefined) return { type: "abuse", token };
    if (first) {
      const error = this.checkDependency(buffer);
      if (error !== undefined) return { type: "error", error };
      this.streamId = frames.streamId;
      this.endStream = frames.endStream;
      fields.reset();
    }
    // A block cannot be decoded in part, and without it the compression state is lost.
    if (!fields.append(buffer, frames.start, frames.end)) return FLOOD;
    if (!frames.endHeaders) return MORE;
    const verdict = this.#leg.blocks.decode(fields);
    if (verdict === "compression") {
      const error = connectionError(H2Code.CompressionError, "a field block is invalid");
      return { type: "error", error };
    }
    if (verdict === "excessive") return FLOOD;
    this.tooLarge = verdict === "too_large";
    return BLOCK;
  }

  /**
   * RFC 7540, section 5.3.1: a stream that depends on itself is an error. RFC 9113 has no dependencies any
   * more; whoever still sends them and cannot even do that is not answered with resets at will.
   */
  checkDependency(buffer: Uint8Array): ConnectionError | undefined {
    const { type, flags, streamId, start } = this.#leg.frames;
    if (type === FrameType.Headers && (flags & Flag.Priority) === 0) return undefined;
    const at = type === FrameType.Headers ? start - PRIORITY_SIZE : start;
    if (readUint31(buffer, at) !== streamId) return undefined;
    return connectionError(H2Code.ProtocolError, `stream ${streamId} depends on itself`);
  }
}
