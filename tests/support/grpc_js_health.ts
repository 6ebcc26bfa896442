/**
 * A program: a gRPC server on grpc-js with `grpc.health.v1`. A process of its own, for its HTTP/2 is that of the
 * runtime. It prints the port that it listens on; SIGHUP makes it change between SERVING and NOT_SERVING.
 *
 * @module
 */
import {
  type sendUnaryData,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
} from "@grpc/grpc-js";
import { HEALTH_PROTO } from "../../lib/grpc/protos.ts";
import { loadProto } from "../../lib/grpc/services/definitions.ts";

interface Answer {
  readonly status: "SERVING" | "NOT_SERVING";
}

const streams = new Set<ServerWritableStream<unknown, Answer>>();
let answer: Answer = { status: "SERVING" };

const server = new Server();
server.addService(loadProto(HEALTH_PROTO).service("grpc.health.v1.Health"), {
  Check: (_call: ServerUnaryCall<unknown, Answer>, reply: sendUnaryData<Answer>) =>
    reply(null, answer),
  Watch(call: ServerWritableStream<unknown, Answer>) {
    streams.add(call);
    call.on("cancelled", () => {
      streams.delete(call);
      console.log(`streams ${streams.size}`);
    });
    call.write(answer);
    console.log(`streams ${streams.size}`);
  },
});
Deno.addSignalListener("SIGHUP", () => {
  answer = { status: answer.status === "SERVING" ? "NOT_SERVING" : "SERVING" };
  for (const call of streams) call.write(answer);
});
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  console.log(`listening on ${port}`);
});
