/**
 * A relay in front of a server that counts the PING frames of its clients.
 *
 * @module
 */
import { FRAME_HEADER_SIZE, FrameType } from "../../lib/http/h2/frames.ts";
import { CLIENT_PREFACE } from "../../lib/http/h2/preface.ts";

/** Bytes of an HTTP/2 client as they come: frame after frame behind the preface. */
class PingCounter {
  count = 0;
  #kept = new Uint8Array();
  /** Bytes that are still to be passed over. */
  #skip = CLIENT_PREFACE.length;

  add(bytes: Uint8Array): void {
    const all = new Uint8Array(this.#kept.length + bytes.length);
    all.set(this.#kept);
    all.set(bytes, this.#kept.length);
    let at = this.#skip;
    for (; at + FRAME_HEADER_SIZE <= all.length;) {
      const length = all[at]! << 16 | all[at + 1]! << 8 | all[at + 2]!;
      if (all[at + 3] === FrameType.Ping && (all[at + 4]! & 1) === 0) this.count++;
      at += FRAME_HEADER_SIZE + length;
    }
    this.#kept = all.slice(Math.min(at, all.length));
    this.#skip = Math.max(0, at - all.length);
  }
}

/** A relay to one server. */
export class PingRelay implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #conns = new Set<Deno.TcpConn>();
  readonly #counters: PingCounter[] = [];
  readonly #work: Promise<void>;

  /** Relays to `127.0.0.1:port`. */
  constructor(addr: string) {
    this.#work = this.#accept(Number(addr.slice(addr.lastIndexOf(":") + 1)));
  }

  /** Where it listens. */
  get addr(): string {
    return `127.0.0.1:${this.#listener.addr.port}`;
  }

  /** PING frames that clients have sent, acknowledgements aside, for each of their connections. */
  get pings(): number[] {
    return this.#counters.map(({ count }) => count);
  }

  async #accept(port: number): Promise<void> {
    const relays: Promise<unknown>[] = [];
    for await (const client of this.#listener) {
      const server = await Deno.connect({ hostname: "127.0.0.1", port });
      this.#conns.add(client).add(server);
      const counter = new PingCounter();
      this.#counters.push(counter);
      const count = new TransformStream<Uint8Array, Uint8Array>({
        transform(bytes, controller) {
          counter.add(bytes);
          controller.enqueue(bytes);
        },
      });
      // What one side breaks off the other cannot end in order.
      relays.push(Promise.allSettled([
        client.readable.pipeThrough(count).pipeTo(server.writable),
        server.readable.pipeTo(client.writable),
      ]));
    }
    await Promise.all(relays);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const conn of this.#conns) {
      try {
        conn.close();
      } catch (error) {
        // It has been closed with its streams.
        if (!(error instanceof Deno.errors.BadResource)) throw error;
      }
    }
    await this.#work;
  }
}
