/**
 * What a file descriptor defines, as far as reflection needs to know.
 *
 * @module
 */
import { createHash } from "node:crypto";
import protobuf from "protobufjs";

/**
 * The part of google/protobuf/descriptor.proto that says what messages look like on the wire. Two files that
 * differ in other parts only, such as comments and options of languages, define the same.
 */
const DESCRIPTOR = `
syntax = "proto2";
message File {
  optional string name = 1;
  optional string package = 2;
  repeated string dependency = 3;
  repeated Message message_type = 4;
  repeated Enum enum_type = 5;
  repeated Service service = 6;
  repeated Field extension = 7;
}
message Message {
  optional string name = 1;
  repeated Field field = 2;
  repeated Message nested_type = 3;
  repeated Enum enum_type = 4;
  repeated Field extension = 6;
}
message Field {
  optional string name = 1;
  optional string extendee = 2;
  optional int32 number = 3;
  optional int32 label = 4;
  optional int32 type = 5;
  optional string type_name = 6;
}
message Enum {
  optional string name = 1;
  repeated EnumValue value = 2;
}
message EnumValue {
  optional string name = 1;
  optional int32 number = 2;
}
message Service {
  optional string name = 1;
  repeated Method method = 2;
}
message Method {
  optional string name = 1;
  optional string input_type = 2;
  optional string output_type = 3;
  optional bool client_streaming = 5;
  optional bool server_streaming = 6;
}
`;

interface Named {
  readonly name: string;
}

interface MessageShape extends Named {
  readonly nested_type: readonly MessageShape[];
  readonly enum_type: readonly Named[];
}

interface FileShape extends Named {
  readonly package: string;
  readonly dependency: readonly string[];
  readonly message_type: readonly MessageShape[];
  readonly enum_type: readonly Named[];
  readonly service: readonly (Named & { readonly method: readonly Named[] })[];
}

/** What a file defines. */
export interface FileSummary {
  /** Its name. */
  readonly name: string;
  /** The files that it imports. */
  readonly dependencies: readonly string[];
  /** The full names of its messages, enums, services and methods. */
  readonly symbols: readonly string[];
  /** Equal for files that define the same. */
  readonly shape: string;
}

const file = protobuf.parse(DESCRIPTOR, new protobuf.Root(), { keepCase: true }).root
  .lookupType("File");

/**
 * Reads a file descriptor.
 *
 * @throws {Error} When the bytes are none.
 */
export function summarize(bytes: Uint8Array): FileSummary {
  const message = file.decode(bytes);
  const shape = message as unknown as FileShape;
  return {
    name: shape.name,
    dependencies: [...shape.dependency],
    symbols: [...symbolsOf(shape)],
    shape: digest(JSON.stringify(file.toObject(message))),
  };
}

function digest(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("base64");
}

/** Summaries of files by their content: backends of one service send the same files again and again. */
export class SummaryCache {
  readonly #summaries = new Map<string, FileSummary>();
  readonly #limit: number;

  /** Keeps at most so many. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * The same as {@linkcode summarize}.
   *
   * @throws {Error} When the bytes are no file descriptor.
   */
  summarize(bytes: Uint8Array): FileSummary {
    const key = digest(bytes);
    let summary = this.#summaries.get(key);
    if (summary === undefined) {
      summary = summarize(bytes);
      if (this.#summaries.size >= this.#limit) {
        const [oldest] = this.#summaries.keys();
        this.#summaries.delete(oldest!);
      }
      this.#summaries.set(key, summary);
    }
    return summary;
  }
}

function* symbolsOf(shape: FileShape): Iterable<string> {
  const scope = shape.package === "" ? "" : `${shape.package}.`;
  yield* messagesOf(scope, shape.message_type);
  for (const { name } of shape.enum_type) yield scope + name;
  for (const { name, method } of shape.service) {
    yield scope + name;
    for (const { name: inner } of method) yield `${scope}${name}.${inner}`;
  }
}

function* messagesOf(scope: string, messages: readonly MessageShape[]): Iterable<string> {
  for (const { name, nested_type, enum_type } of messages) {
    yield scope + name;
    yield* messagesOf(`${scope}${name}.`, nested_type);
    for (const { name: inner } of enum_type) yield `${scope}${name}.${inner}`;
  }
}
