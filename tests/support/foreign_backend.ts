/**
 * A program: a gRPC backend of which nothing is ours, on grpc-js and `@grpc/reflection`. A process of its own, for
 * its HTTP/2 is that of the runtime. Its argument is JSON; it prints the port that it listens on.
 *
 * @module
 */
import { Server, ServerCredentials, type ServiceDefinition } from "@grpc/grpc-js";
import { fromJSON } from "@grpc/proto-loader";
import { ReflectionService } from "@grpc/reflection";
import protobuf from "protobufjs";

/** What the backend is told. */
export interface ForeignOptions {
  /** Where to listen; 0 lets the system choose. */
  readonly port: number;
  /** What it answers each call with. */
  readonly name: string;
  /** Full names of its services; each has a method `Who`. */
  readonly services: readonly string[];
}

interface Who {
  readonly name: string;
}

const { port, name, services }: ForeignOptions = JSON.parse(Deno.args[0]!);

const root = new protobuf.Root();
for (const service of services) {
  const dot = service.lastIndexOf(".");
  protobuf.parse(
    `syntax = "proto3"; package ${service.slice(0, dot)};
message Question {}
message Answer { string name = 1; }
service ${service.slice(dot + 1)} { rpc Who(Question) returns (Answer); }`,
    root,
  );
}
root.resolveAll();
const definitions = fromJSON(root.toJSON(), { keepCase: true });
const server = new Server();
for (const service of services) {
  server.addService(definitions[service] as unknown as ServiceDefinition, {
    Who: (_call: unknown, answer: (error: null, who: Who) => void) => answer(null, { name }),
  });
}
new ReflectionService(definitions).addToServer(server);
server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, bound) => {
  if (error !== null) throw error;
  console.log(`listening on ${bound}`);
});
