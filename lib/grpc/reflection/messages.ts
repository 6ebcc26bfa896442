/**
 * The messages of `grpc.reflection`, which are the same bytes in v1 and v1alpha.
 *
 * @module
 */
import type protobuf from "protobufjs";
import { GrpcStatus } from "../status.ts";
import type { Answer, Question } from "./source.ts";

/** `ServerReflectionRequest` as an object. */
export interface RequestMessage {
  readonly host?: string;
  readonly file_by_filename?: string;
  readonly file_containing_symbol?: string;
  readonly file_containing_extension?: {
    readonly containing_type?: string;
    readonly extension_number?: number;
  };
  readonly all_extension_numbers_of_type?: string;
  readonly list_services?: string;
}

/** `ServerReflectionResponse` as an object. */
export interface ResponseMessage {
  readonly valid_host?: string;
  readonly original_request?: RequestMessage;
  readonly file_descriptor_response?: { readonly file_descriptor_proto?: readonly Uint8Array[] };
  readonly all_extension_numbers_response?: {
    readonly base_type_name?: string;
    readonly extension_number?: readonly number[];
  };
  readonly list_services_response?: { readonly service?: readonly { readonly name?: string }[] };
  readonly error_response?: { readonly error_code?: number; readonly error_message?: string };
}

/** What a message asks; `undefined` when it asks nothing. */
export function parseRequest(message: RequestMessage): Question | undefined {
  const {
    file_by_filename: file,
    file_containing_symbol: symbol,
    file_containing_extension: extension,
    all_extension_numbers_of_type: type,
    list_services,
  } = message;
  if (list_services !== undefined) return { type: "services" };
  if (file !== undefined) return { type: "file", name: file };
  if (symbol !== undefined) return { type: "symbol", name: symbol };
  if (extension !== undefined) {
    const { containing_type = "", extension_number = 0 } = extension;
    return { type: "extension", name: containing_type, number: extension_number };
  }
  if (type !== undefined) return { type: "extension_numbers", name: type };
  return undefined;
}

function requestOf(question: Question): RequestMessage {
  switch (question.type) {
    case "services":
      return { list_services: "*" };
    case "file":
      return { file_by_filename: question.name };
    case "symbol":
      return { file_containing_symbol: question.name };
    case "extension":
      return {
        file_containing_extension: {
          containing_type: question.name,
          extension_number: question.number,
        },
      };
    case "extension_numbers":
      return { all_extension_numbers_of_type: question.name };
  }
}

/** The answer as it is sent. */
export function responseOf(request: RequestMessage, answer: Answer): ResponseMessage {
  const head = { valid_host: request.host ?? "", original_request: request };
  switch (answer.type) {
    case "services":
      return {
        ...head,
        list_services_response: { service: answer.names.map((name) => ({ name })) },
      };
    case "files":
      return { ...head, file_descriptor_response: { file_descriptor_proto: answer.files } };
    case "extension_numbers":
      return {
        ...head,
        all_extension_numbers_response: {
          base_type_name: answer.name,
          extension_number: answer.numbers,
        },
      };
    case "error":
      return {
        ...head,
        error_response: { error_code: answer.code, error_message: answer.message },
      };
  }
}

function parseResponse(message: ResponseMessage): Answer {
  const {
    file_descriptor_response: files,
    all_extension_numbers_response: numbers,
    list_services_response: services,
    error_response: error,
  } = message;
  if (files !== undefined) return { type: "files", files: files.file_descriptor_proto ?? [] };
  if (services !== undefined) {
    return { type: "services", names: (services.service ?? []).map(({ name = "" }) => name) };
  }
  if (numbers !== undefined) {
    const { base_type_name = "", extension_number = [] } = numbers;
    return { type: "extension_numbers", name: base_type_name, numbers: extension_number };
  }
  return {
    type: "error",
    code: error?.error_code ?? GrpcStatus.Unknown,
    message: error?.error_message ?? "the backend sent an empty answer",
  };
}

/** Encodes questions to backends and decodes their answers. */
export class ReflectionCodec {
  readonly #request: protobuf.Type;
  readonly #response: protobuf.Type;

  /** `root` holds `grpc.reflection.v1`. */
  constructor(root: protobuf.Root) {
    this.#request = root.lookupType("grpc.reflection.v1.ServerReflectionRequest");
    this.#response = root.lookupType("grpc.reflection.v1.ServerReflectionResponse");
  }

  /** The bytes of a question. */
  encode(question: Question): Uint8Array {
    return this.#request.encode(this.#request.fromObject(requestOf(question))).finish();
  }

  /**
   * The meaning of an answer.
   *
   * @throws {Error} When the bytes are no such message.
   */
  decode(bytes: Uint8Array): Answer {
    // In the object, unlike in the message, what is not set is absent.
    return parseResponse(this.#response.toObject(this.#response.decode(bytes)));
  }
}
