/**
 * What can be asked of reflection, and who answers.
 *
 * @module
 */

/** A question of `grpc.reflection`, the five kinds there are. */
export type Question =
  | { readonly type: "services" }
  | { readonly type: "file"; readonly name: string }
  | { readonly type: "symbol"; readonly name: string }
  | { readonly type: "extension"; readonly name: string; readonly number: number }
  | { readonly type: "extension_numbers"; readonly name: string };

/** An answer. `files` are encoded `google.protobuf.FileDescriptorProto`s. */
export type Answer =
  | { readonly type: "services"; readonly names: readonly string[] }
  | { readonly type: "files"; readonly files: readonly Uint8Array[] }
  | {
    readonly type: "extension_numbers";
    readonly name: string;
    readonly numbers: readonly number[];
  }
  | { readonly type: "error"; readonly code: number; readonly message: string };

/** Somebody who knows definitions. */
export interface ReflectionSource {
  /** Who, for the log. */
  readonly label: string;
  /** Answers; bounded in time, never rejects. */
  ask(question: Question): Promise<Answer>;
}
