/**
 * Field blocks on their way through a tunnel: decoded and judged here, and passed on as they came, dynamic
 * table and all, as long as the far end has seen every block before.
 *
 * @module
 */
import type { ByteWriter } from "../../http/h1/writer.ts";
import { beginHeaders, endHeaders } from "../../http/h2/frame_writer.ts";
import { MIN_MAX_FRAME_SIZE } from "../../http/h2/frames.ts";
import { Decoder, type DecodeVerdict } from "../../http/h2/hpack/decoder.ts";
import { Encoder } from "../../http/h2/hpack/encoder.ts";
import { FieldFlag, type FieldList } from "../../http/h2/hpack/field_list.ts";
import { nameFlags } from "../../http/h2/hpack/names.ts";
import { STATIC_TEXT } from "../../http/h2/hpack/static_table.ts";

const ALL = { skip: nameFlags() };
/** Where the block begins in a list. */
const BLOCK_START = STATIC_TEXT.length;
const TABLE_FLAGS = FieldFlag.Dynamic | FieldFlag.Incremental;

/** The blocks of one direction. */
export class BlockRelay {
  readonly #decoder = new Decoder();
  /** Whether the far end's table is the same as ours. */
  #coupled = true;
  #encoder: Encoder | undefined;
  /** Whether the next block must begin with a size update. */
  #updateDue = false;
  /** Whether the last block was decoded in full. */
  #whole = true;

  /** Decodes a block. After `compression` or `excessive` there may be no other. */
  decode(list: FieldList): DecodeVerdict {
    const verdict = this.#decoder.decode(list);
    this.#whole = verdict === "ok";
    return verdict;
  }

  /**
   * The block is not passed on. If it changes the table, later ones mean something else to the far end than to us:
   * they are encoded anew if they refer to the table.
   */
  skip(list: FieldList): void {
    if (this.#coupled && (!this.#whole || this.changesTable(list))) this.decouple();
  }

  /** Whether the far end must see the block, so that its table stays the same as ours. */
  changesTable(list: FieldList): boolean {
    return this.#coupled && ((list.allFlags & FieldFlag.Incremental) !== 0 || resizes(list));
  }

  /** Blocks that were said to pass do not reach the far end. */
  decouple(): void {
    this.#coupled = false;
    this.#updateDue = true;
    this.#encoder = new Encoder();
    // The far end may wait for a size update that the near end has said in what was skipped. One to 0, in
    // front of the next block, is right at any time, and frees its table.
    this.#encoder.limitTable(0);
  }

  /** Whether our table is not that of the far end. */
  get decoupled(): boolean {
    return !this.#coupled;
  }

  /** Whether the block means the same to the far end as to us. */
  passes(list: FieldList): boolean {
    return this.#coupled ||
      (!this.#updateDue && (list.allFlags & TABLE_FLAGS) === 0 && !resizes(list));
  }

  /** Encodes a block anew that does not pass, without the table. */
  encode(out: ByteWriter, list: FieldList, streamId: number, endStream: boolean): void {
    const encoder = this.#encoder!;
    this.#updateDue = false;
    const at = beginHeaders(out);
    encoder.begin(out);
    encoder.copy(out, list, ALL);
    endHeaders(out, at, { streamId, endStream, maxFrameSize: MIN_MAX_FRAME_SIZE });
  }
}

/** Whether a block begins with a size update (RFC 7541, section 4.2). */
function resizes(list: FieldList): boolean {
  return list.count === 0 ? list.blockEnd > BLOCK_START : list.representations[0] !== BLOCK_START;
}
