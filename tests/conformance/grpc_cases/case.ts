/**
 * What cases of gRPC through a proxy are, and are made of.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { FrameType } from "../../../lib/http/h2/frames.ts";
import type { HttpL7Options } from "../../../mod.ts";
import { type GrpcListener, GrpcScene } from "../../support/grpc_listeners.ts";
import { frame } from "../../support/h2_raw.ts";
import {
  type Wire,
  WireBackend,
  type WireOptions,
  type WireRequest,
  type WireScript,
} from "../../support/h2_wire.ts";
import { until } from "../../support/net.ts";

/** Flags of HEADERS: END_HEADERS, alone and with END_STREAM. */
export const OPEN = 0x4;
export const END = 0x5;
/** PADDED, of DATA and HEADERS. */
export const PADDED = 0x8;
/** ACK, of SETTINGS and PING. */
export const ACK = 1;

/** What a case is given: it makes what it needs, and all of it is closed behind it. */
export class Stage implements AsyncDisposable {
  /** The listener that it is about. */
  readonly kind: GrpcListener;
  readonly #open: AsyncDisposable[] = [];

  /** Begins with nothing. */
  constructor(kind: GrpcListener) {
    this.kind = kind;
  }

  /** Whether connections to backends are shared by clients, and their windows are not those of a client. */
  get shares(): boolean {
    return this.kind.layer === "l7";
  }

  /** A backend that listens. */
  backend(script: WireScript, options: WireOptions = {}): WireBackend {
    const backend = WireBackend.listen(script, options);
    this.#open.push(backend);
    return backend;
  }

  /** A balancer before these backends. */
  async scene(backends: readonly WireBackend[], options: HttpL7Options = {}): Promise<GrpcScene> {
    const scene = await GrpcScene.open(this.kind, {
      backends: backends.map(({ addr }) => addr),
      ...options,
    });
    this.#open.push(scene);
    return scene;
  }

  /** A client of a balancer before one backend. */
  async pair(
    script: WireScript,
    options: { readonly client?: WireOptions; readonly backend?: WireOptions } = {},
  ): Promise<{ client: Wire; backend: WireBackend; scene: GrpcScene }> {
    const backend = this.backend(script, options.backend);
    const scene = await this.scene([backend]);
    return { client: await scene.wire(options.client), backend, scene };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.#open.toReversed()) await one[Symbol.asyncDispose]();
  }
}

/** One case. */
export interface GrpcCase {
  /** A short name that stays. */
  readonly id: string;
  /** What must be true. */
  readonly why: string;
  /** The only layer that it is about. */
  readonly only?: "l7" | "l4";
  /** A listener that it is not about. */
  readonly not?: string;
  /** Fails when it is not. */
  readonly run: (stage: Stage) => Promise<void>;
}

/** That an answer is Trailers-Only: one HEADERS that ends the stream, whose status line says 200. */
export function assertTrailersOnly(client: Wire, id: number, status: string): void {
  const frames = client.frames.filter((one) => one.id === id && one.type !== FrameType.RstStream);
  assertEquals(frames.map(({ type, flags }) => [type, flags]), [[FrameType.Headers, END]]);
  const [fields] = client.stream(id).sections;
  assertEquals(fields!.slice(0, 3), [
    [":status", "200"],
    ["content-type", "application/grpc"],
    ["grpc-status", status],
  ]);
  // A pool that is full says when to come back.
  const rest = fields!.slice(3).map(([name]) => name);
  assertEquals(rest.filter((name) => name !== "grpc-retry-pushback-ms"), ["grpc-message"]);
}

/** The first request of a backend. */
export async function first(backend: WireBackend): Promise<WireRequest> {
  await until(() => backend.requests.length > 0, "the request reaches the backend");
  return backend.requests[0]!;
}

/** A message with its prefix (PROTOCOL-HTTP2, "Length-Prefixed-Message"). */
export function message(length: number): Uint8Array {
  const bytes = new Uint8Array(5 + length).fill(0x6d);
  bytes[0] = 0;
  new DataView(bytes.buffer).setUint32(1, length);
  return bytes;
}

/** A DATA frame with this content. */
export function content(id: number, bytes: Uint8Array, flags = 0): Uint8Array {
  return frame(FrameType.Data, flags, id, bytes);
}
