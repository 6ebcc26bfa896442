/**
 * A backend for `outage` and `soak`, as a program: HTTP/1.1 with WebSockets on one port, gRPC on another one, and on
 * a third HTTP that goes wrong as the path says. It prints `ready` when it listens on all that it was given.
 *
 * ```sh
 * deno run -A scripts/load/backend.ts --http 8081 --grpc 50051 --faults 8082
 * ```
 *
 * @module
 */
import { createServer, type Socket } from "node:net";
import { parseArgs } from "@std/cli";
import { Clock } from "../../lib/common/clock.ts";
import { ConnDuplex } from "../../lib/common/duplex.ts";
import { H2Connection } from "../../lib/http/h2/connection.ts";
import { refuseUnknown } from "../script.ts";
import { serveCall } from "./grpc_service.ts";
import { type FaultPath, HTTP_ANSWER, HTTP_FAULTS } from "./http_faults.ts";

const HOSTNAME = "127.0.0.1";

function misbehave(socket: Socket, path: FaultPath): void {
  switch (path) {
    case "/fault/reset":
      socket.resetAndDestroy();
      break;
    case "/fault/close":
      socket.end();
      break;
    case "/fault/garbage":
      socket.end("this is no answer\r\n\r\n");
      break;
    case "/fault/cut":
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n${HTTP_ANSWER}`);
      socket.end();
      break;
    case "/fault/stall":
      // The balancer gives up and closes.
      break;
  }
}

function serveHttp(port: number): void {
  Deno.serve({ hostname: HOSTNAME, port, onListen() {} }, async (request) => {
    if (request.headers.get("upgrade") === "websocket") {
      const { socket, response } = Deno.upgradeWebSocket(request);
      socket.onmessage = ({ data }) => socket.send(data);
      return response;
    }
    await request.body?.cancel();
    return new Response(HTTP_ANSWER);
  });
}

function serveFaults(port: number): Promise<void> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let head = "";
    socket.setEncoding("latin1");
    socket.on("data", (text: string) => {
      head += text;
      const path = /^GET (\S+) HTTP\/1\.1\r\n[^]*\r\n\r\n/.exec(head)?.[1];
      if (path === undefined) return;
      head = "";
      if (path in HTTP_FAULTS) misbehave(socket, path as FaultPath);
      else socket.end("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    });
    socket.on("end", () => socket.end());
    // The balancer resets what it gives up.
    socket.on("error", () => socket.destroy());
  });
  return new Promise((resolve) => server.listen(port, HOSTNAME, resolve));
}

async function serveGrpc(listener: Deno.Listener): Promise<void> {
  const clock = new Clock();
  for await (const conn of listener) {
    const connection: H2Connection = new H2Connection({
      role: "server",
      duplex: new ConnDuplex(conn),
      clock,
      handler: {
        onRequest: (stream, head, { endStream }) =>
          serveCall(stream, { path: head.path, endStream, drain: () => connection.drain() }),
      },
      options: { maxConcurrentStreams: 1000 },
    });
    void connection.run();
  }
}

if (import.meta.main) {
  const args = parseArgs(Deno.args, {
    string: ["http", "grpc", "faults"],
    unknown: refuseUnknown,
  });
  if (args.http !== undefined) serveHttp(Number(args.http));
  if (args.faults !== undefined) await serveFaults(Number(args.faults));
  if (args.grpc !== undefined) {
    void serveGrpc(Deno.listen({ hostname: HOSTNAME, port: Number(args.grpc) }));
  }
  console.log("ready");
}
