/**
 * Service definitions of grpc-js from the texts of {@linkcode ProtoFile}s. No file is read.
 *
 * @module
 */
import type { ServiceDefinition } from "@grpc/grpc-js";
import { fromJSON } from "@grpc/proto-loader";
import protobuf from "protobufjs";
import type { ProtoFile } from "../protos.ts";

/** What a definition yields. */
export interface LoadedProto {
  /** The messages, for a codec of one's own. */
  readonly root: protobuf.Root;
  /** The file as reflection serves it: an encoded `google.protobuf.FileDescriptorProto`. */
  readonly descriptor: Uint8Array;
  /**
   * A service by its full name.
   *
   * @throws {TypeError} When the file has none of this name.
   */
  service(name: string): ServiceDefinition;
}

/** Parses a definition. Field names stay as they are written; what is not set is absent in messages. */
export function loadProto(file: ProtoFile): LoadedProto {
  const { root, package: name = "" } = protobuf.parse(file.text, new protobuf.Root(), {
    keepCase: true,
  });
  root.resolveAll();
  const definitions = fromJSON(root.toJSON(), {
    keepCase: true,
    enums: String,
    longs: Number,
    arrays: true,
    objects: true,
    oneofs: true,
  });
  return {
    root,
    descriptor: describe(root, file.name, name),
    service(service) {
      const definition = definitions[service];
      if (definition === undefined || "format" in definition) {
        throw new TypeError(`${file.name} has no service ${JSON.stringify(service)}`);
      }
      // The two packages describe the same object with types of their own.
      return definition as unknown as ServiceDefinition;
    },
  };
}

function describe(root: protobuf.Root, file: string, name: string): Uint8Array {
  const set = root.toDescriptor("proto3");
  const found = set.file.find((candidate) => candidate.package === name);
  if (found === undefined) throw new TypeError(`${file} defines nothing in package ${name}`);
  found.name = file;
  for (const message of found.messageType ?? []) {
    complete(message, root.lookupType(`${name}.${message.name}`));
  }
  const type = set.$type.fields["file"]!.resolve().resolvedType as protobuf.Type;
  return type.encode(found).finish();
}

type MessageDescriptor = NonNullable<
  ReturnType<protobuf.Root["toDescriptor"]>["file"][number]["messageType"]
>[number];

/**
 * Writes what protobufjs leaves out or names otherwise than protoc, which Go clients insist on: full names of
 * types, the names of the entries of maps, and whether a field is `optional`.
 */
function complete(descriptor: MessageDescriptor, type: protobuf.Type): void {
  const nested = descriptor.nestedType ?? [];
  for (const field of descriptor.field ?? []) {
    const original = type.fields[field.name ?? ""]!;
    const typeName = original.resolvedType?.fullName;
    if (original instanceof protobuf.MapField) {
      const entry = nested.find(({ name }) => name === field.typeName)!;
      entry.name = entryName(original.name);
      field.typeName = `${type.fullName}.${entry.name}`;
      if (typeName !== undefined) entry.field![1]!.typeName = typeName;
    } else if (typeName !== undefined) field.typeName = typeName;
    if (original.options?.["proto3_optional"] === true) {
      Object.assign(field, { proto3Optional: true });
    }
  }
  for (const inner of nested) {
    if (inner.options?.mapEntry !== true) complete(inner, type.lookupType(inner.name ?? ""));
  }
}

/** descriptor.proto, at `map_entry`: the name of the field in camel case, and `Entry`. */
function entryName(field: string): string {
  return `_${field}Entry`.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}
