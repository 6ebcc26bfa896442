/**
 * Backends in memory of which only the reflection matters, over our own engine and a clock that stands still.
 *
 * @module
 */
import protobuf from "protobufjs";
import type { Connect } from "../../lib/backend/connector.ts";
import { Registry } from "../../lib/backend/registry.ts";
import { formatAddress } from "../../lib/common/address.ts";
import { ProxyError } from "../../lib/common/errors.ts";
import { makeMemoryPair } from "../../lib/common/memory_duplex.ts";
import { REFLECTION_PROTO } from "../../lib/grpc/protos.ts";
import { AggregatedReflection } from "../../lib/grpc/reflection/aggregate.ts";
import { notFound } from "../../lib/grpc/reflection/local_source.ts";
import { parseRequest, ReflectionCodec, responseOf } from "../../lib/grpc/reflection/messages.ts";
import type { Answer, Question } from "../../lib/grpc/reflection/source.ts";
import { loadProto } from "../../lib/grpc/services/definitions.ts";
import { GrpcStatus } from "../../lib/grpc/status.ts";
import { FakeClock, settle } from "./fake_clock.ts";
import { type Call, H2Backend, OK } from "./h2_peer.ts";
import { concat } from "./net.ts";

const { root } = loadProto(REFLECTION_PROTO);
const Request = root.lookupType("grpc.reflection.v1.ServerReflectionRequest");
const Response = root.lookupType("grpc.reflection.v1.ServerReflectionResponse");

const File = protobuf.parse(
  `syntax = "proto2";
message File { optional string name = 1; optional string package = 2; repeated string dependency = 3;
  repeated Message message_type = 4; repeated Service service = 6; }
message Message { optional string name = 1; repeated Field field = 2; }
message Field { optional string name = 1; optional int32 number = 3; optional int32 label = 4;
  optional int32 type = 5; }
message Service { optional string name = 1; }`,
  new protobuf.Root(),
  { keepCase: true },
).root.lookupType("File");

/** What a file holds. */
export interface FileParts {
  /** `package.Service` */
  readonly service?: string;
  /** The number of the one field of its one message. */
  readonly field?: number;
  /** The files that it imports. */
  readonly imports?: readonly string[];
}

/** An encoded `google.protobuf.FileDescriptorProto`. */
export function encodeFile(name: string, { service, field = 1, imports = [] }: FileParts = {}) {
  const dot = service?.lastIndexOf(".") ?? 0;
  return File.encode(File.fromObject({
    name,
    package: service?.slice(0, dot) ?? "",
    dependency: imports,
    message_type: [{ name: "M", field: [{ name: "f", number: field, label: 1, type: 9 }] }],
    service: service === undefined ? [] : [{ name: service.slice(dot + 1) }],
  })).finish();
}

const PREFIX = 5;

/** The messages in a body, each behind a flag and its length. */
function* messagesOf(body: Uint8Array): Iterable<Uint8Array> {
  const view = new DataView(body.buffer, body.byteOffset);
  for (let at = 0; at < body.length;) {
    const end = at + PREFIX + view.getUint32(at + 1);
    yield body.subarray(at + PREFIX, end);
    at = end;
  }
}

function frame(message: Uint8Array): Uint8Array {
  const head = new Uint8Array(PREFIX);
  new DataView(head.buffer).setUint32(1, message.length);
  return concat(head, message);
}

/** A backend. */
export class ReflectingBackend {
  /** Which reflection it speaks; `silent` never answers. */
  speaks: "v1" | "v1alpha" | "none" | "silent" = "v1";
  /** Whether nobody answers at its address. */
  down = false;
  /** The services that it lists. */
  services: string[] = [];
  /** Its files by name; a service is defined in the file that names it. */
  readonly files = new Map<string, FileParts>();
  /** What it was asked, each call a list. */
  readonly asked: Question[][] = [];
  /** Its end of each connection. */
  readonly server: H2Backend;

  constructor(time: FakeClock) {
    this.server = new H2Backend({ clock: time.clock, onCall: (call) => this.#onCall(call) });
  }

  /** Has a service, which a file defines. */
  define(service: string, file: string, parts: FileParts = {}): void {
    if (!this.services.includes(service)) this.services.push(service);
    this.files.set(file, { ...parts, service });
  }

  #onCall(call: Call): void {
    const answer = () => {
      if (!call.ended) return;
      call.onEvent = undefined;
      this.#answer(call);
    };
    call.onEvent = answer;
    answer();
  }

  #answer(call: Call): void {
    if (this.speaks === "silent") return;
    if (call.path !== `/grpc.reflection.${this.speaks}.ServerReflection/ServerReflectionInfo`) {
      call.end([...OK, ["grpc-status", "12"], ["grpc-message", "unknown service"]]);
      return;
    }
    call.head();
    const questions: Question[] = [];
    for (const bytes of messagesOf(concat(...call.chunks))) {
      const request = Request.toObject(Request.decode(bytes));
      const question = parseRequest(request)!;
      questions.push(question);
      const response = responseOf(request, this.#find(question));
      call.send(frame(Response.encode(Response.fromObject(response)).finish()));
    }
    this.asked.push(questions);
    call.end();
  }

  #find(question: Question): Answer {
    if (question.type === "services") return { type: "services", names: this.services };
    const { name } = question;
    for (const [file, parts] of this.files) {
      if (question.type === "file" ? file === name : parts.service === name) {
        return { type: "files", files: [encodeFile(file, parts)] };
      }
    }
    return notFound(name);
  }
}

/** Backends and their reflection. */
export class ReflectionScene implements AsyncDisposable {
  readonly time: FakeClock = new FakeClock();
  readonly registry: Registry;
  readonly reflection: AggregatedReflection;
  readonly #backends = new Map<string, ReflectingBackend>();

  constructor() {
    const { clock } = this.time;
    this.registry = new Registry({
      strategy: "round-robin",
      scheme: "grpc",
      fallback: false,
      connections: {
        maxConnections: 8,
        maxWaiting: 8,
        waitTimeout: 2_000,
        idleTimeout: 3_600_000,
        connectTimeout: 1_000,
      },
      clock,
      connect: this.#connect,
    });
    this.reflection = new AggregatedReflection({
      backends: () => this.registry.backends,
      codec: new ReflectionCodec(root),
      clock,
    });
  }

  /** Adds a backend. */
  add(host: string): ReflectingBackend {
    const backend = new ReflectingBackend(this.time);
    this.#backends.set(`${host}:80`, backend);
    this.registry.addBackend({ addr: `${host}:80` });
    return backend;
  }

  readonly #connect: Connect = (address) => {
    const backend = this.#backends.get(formatAddress(address).replace(/^\w+:\/\//, ""));
    if (backend === undefined || backend.down) {
      return Promise.reject(
        new ProxyError("connect_refused", "upstream", "it is down", { retry: "safe" }),
      );
    }
    const [ours, theirs] = makeMemoryPair();
    backend.server.serve(theirs);
    return Promise.resolve(ours);
  };

  /** What the backend that was added `index`th answers when it is asked for its services now. */
  async list(index = 0): Promise<readonly string[] | number> {
    const backend = [...this.registry.backends][index]!;
    const asking = this.reflection.list(backend);
    await this.quiet();
    const answer = (await asking)!;
    return answer.type === "services" ? answer.names : answer.type === "error" ? answer.code : -1;
  }

  /** Waits until everything has come about that needs no time. */
  async quiet(): Promise<void> {
    for (let i = 0; i < 20; i++) await settle();
  }

  /** The files that are known to be defined differently. */
  conflicts(): string[] {
    return this.reflection.conflicts().map(({ file, backends }) =>
      `${file} of ${backends.map((addr) => addr.replace("grpc://", "")).join(" and ")}`
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.reflection.cancel();
    for (const backend of this.registry.backends) backend.closeIdle();
    for (const { server } of this.#backends.values()) await server[Symbol.asyncDispose]();
    await this.quiet();
  }
}

/** The status of a backend that is not reached. */
export const UNAVAILABLE: number = GrpcStatus.Unavailable;
