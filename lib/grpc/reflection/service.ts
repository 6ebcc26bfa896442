/**
 * `grpc.reflection.v1.ServerReflection` and `grpc.reflection.v1alpha.ServerReflection`.
 *
 * @module
 */
import type { handleBidiStreamingCall, UntypedServiceImplementation } from "@grpc/grpc-js";
import { describeError } from "../../common/errors.ts";
import { getLogger } from "../../observe/logger.ts";
import { GrpcStatus } from "../status.ts";
import type { AggregatedReflection } from "./aggregate.ts";
import type { LocalSource } from "./local_source.ts";
import { parseRequest, type RequestMessage, type ResponseMessage, responseOf } from "./messages.ts";
import type { Answer, ReflectionSource } from "./source.ts";

const log = getLogger("grpc");

const EMPTY: Answer = {
  type: "error",
  code: GrpcStatus.InvalidArgument,
  message: "message_request: nothing is asked; accepted is one of its fields",
};

/** Answers reflection calls; one question after the other, so that no client makes us hold many. */
export function makeReflectionService(
  reflection: AggregatedReflection,
  local: LocalSource,
): UntypedServiceImplementation {
  const info: handleBidiStreamingCall<RequestMessage, ResponseMessage> = (call) => {
    let last: ReflectionSource | undefined;
    let working: Promise<void> = Promise.resolve();
    const answer = async (request: RequestMessage) => {
      const question = parseRequest(request);
      const { answer, source } = question === undefined
        ? { answer: EMPTY, source: undefined }
        : await reflection.ask(question, { local, last });
      last = source ?? last;
      if (call.cancelled) return;
      // What is not read yet waits until this has been taken.
      if (call.write(responseOf(request, answer))) call.resume();
      else call.once("drain", () => call.resume());
    };
    const fail = (error: unknown) => {
      log.error("a reflection call failed", { error: describeError(error) });
      call.emit("error", { code: GrpcStatus.Internal, details: "The load balancer failed." });
    };
    call.on("data", (request: RequestMessage) => {
      call.pause();
      working = working.then(() => answer(request)).catch(fail);
    });
    call.on("end", () => void working.then(() => call.end()));
  };
  return { ServerReflectionInfo: info };
}
