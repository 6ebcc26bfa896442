/**
 * Ways to deliver the same bytes.
 *
 * @module
 */
import { Random } from "./prng.ts";

/** How bytes are cut into writes. */
export const DELIVERIES = ["one write", "byte by byte", "random pieces"] as const;
/** One of them. */
export type Delivery = typeof DELIVERIES[number];

/**
 * Each byte alone, but runs of more than 32 equal ones in one piece: no border of anything lies inside
 * them, and a line of 70 KB would take a second.
 */
const SINGLE_BYTES = /([^])\1{32,}|[^]/g;

/** Cuts a text for a delivery; the same `seed` gives the same random pieces. */
export function cut(text: string, delivery: Delivery, seed: string): string[] {
  switch (delivery) {
    case "one write":
      return [text];
    case "byte by byte":
      return text.match(SINGLE_BYTES) ?? [];
    case "random pieces": {
      let hash = 0;
      for (const character of seed) hash = (Math.imul(hash, 31) + character.charCodeAt(0)) | 0;
      const random = new Random(hash);
      // Some texts are cut in few places, others in many, so that far and near borders are met.
      const longest = Math.max(2, Math.ceil(text.length * random.next() * random.next()));
      const pieces: string[] = [];
      for (let at = 0; at < text.length;) {
        const size = 1 + random.below(longest);
        pieces.push(text.slice(at, at + size));
        at += size;
      }
      return pieces;
    }
  }
}

/**
 * Time between two writes, in which all that is ready in this process is read. Only a read that waits for
 * the system gives that; a timer would, too, but takes a hundred times as long.
 */
export class Pacer implements Disposable {
  readonly #from: Deno.TcpConn;
  readonly #to: Deno.TcpConn;

  private constructor(from: Deno.TcpConn, to: Deno.TcpConn) {
    this.#from = from;
    this.#to = to;
    from.setNoDelay(true);
  }

  /** Opens the pair of sockets that it takes. */
  static async open(): Promise<Pacer> {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { hostname, port } = listener.addr;
    const [from, to] = await Promise.all([Deno.connect({ hostname, port }), listener.accept()]);
    return new Pacer(from, to);
  }

  /** Resolves when what was written before has been read, if somebody waits for it. */
  async next(): Promise<void> {
    const arrived = this.#to.read(new Uint8Array(1));
    await this.#from.write(new Uint8Array(1));
    await arrived;
  }

  [Symbol.dispose](): void {
    this.#from.close();
    this.#to.close();
  }
}
