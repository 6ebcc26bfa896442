/**
 * What the gRPC backends of the demo are: a shop, with reflection and health.
 *
 * @module
 */
import type protobuf from "protobufjs";
import { GrpcCallError } from "../../grpc/client.ts";
import { HEALTH_PROTO, REFLECTION_ALPHA_PROTO, REFLECTION_PROTO } from "../../grpc/protos.ts";
import { LocalSource } from "../../grpc/reflection/local_source.ts";
import { parseRequest, responseOf } from "../../grpc/reflection/messages.ts";
import { loadProto } from "../../grpc/services/definitions.ts";
import { GrpcStatus } from "../../grpc/status.ts";
import type { Handler } from "./grpc_server.ts";

/** The shop's full name. */
export const SHOP = "demo.Shop";
const HEALTH = "grpc.health.v1.Health";
const REFLECTION = "grpc.reflection.v1.ServerReflection";
const REFLECTION_ALPHA = "grpc.reflection.v1alpha.ServerReflection";

const SHOP_PROTO = {
  name: "shop.proto",
  text: `syntax = "proto3";
package demo;

service Shop {
  rpc Price(PriceRequest) returns (PriceReply);
  rpc Order(OrderRequest) returns (OrderReply);
}

message PriceRequest {
  string item = 1;
}

message PriceReply {
  string item = 1;
  uint32 cents = 2;
  string served_by = 3;
}

message OrderRequest {
  string item = 1;
  uint32 count = 2;
}

message OrderReply {
  string item = 1;
  uint32 count = 2;
  uint32 cents = 3;
  string served_by = 4;
}
`,
};

/** What there is to buy, in cents. */
const PRICES: ReadonlyMap<string, number> = new Map([["tea", 420], ["coffee", 690], ["cup", 900]]);

/** A message as an object: fields as they are written in the definition, without those that are not set. */
// deno-lint-ignore no-explicit-any -- what is in it is up to its definition
type Message = Record<string, any>;

const shop = loadProto(SHOP_PROTO);
const health = loadProto(HEALTH_PROTO);
const reflection = loadProto(REFLECTION_PROTO);

/** Encodes the request of a method of the shop, named as in its definition. */
export function encodeRequest(type: string, message: Message): Uint8Array {
  return encode(shop.root.lookupType(`demo.${type}`), message);
}

function encode(type: protobuf.Type, message: Message): Uint8Array {
  return type.encode(type.fromObject(message)).finish();
}

function unary(
  root: protobuf.Root,
  [request, response]: readonly [request: string, response: string],
  answer: (message: Message) => Message | Promise<Message>,
): Handler {
  const requestType = root.lookupType(request);
  const responseType = root.lookupType(response);
  return async (bytes) => {
    let message: Message;
    try {
      message = requestType.toObject(requestType.decode(bytes));
    } catch (error) {
      throw new GrpcCallError(GrpcStatus.InvalidArgument, `this is no ${request}: ${error}`);
    }
    return encode(responseType, await answer(message));
  };
}

function priceOf(item: string): number {
  const cents = PRICES.get(item);
  if (cents !== undefined) return cents;
  const items = [...PRICES.keys()].join(", ");
  throw new GrpcCallError(
    GrpcStatus.NotFound,
    `item: there is no ${JSON.stringify(item)}; there are ${items}`,
  );
}

/** The handlers of one backend, by path. */
export function makeHandlers(name: string): ReadonlyMap<string, Handler> {
  const services = [SHOP, HEALTH, REFLECTION, REFLECTION_ALPHA];
  const files = [SHOP_PROTO, HEALTH_PROTO, REFLECTION_PROTO, REFLECTION_ALPHA_PROTO];
  const source = new LocalSource(services, files.map((file) => loadProto(file).descriptor));
  // The messages of both versions are the same bytes.
  const info = unary(
    reflection.root,
    [
      "grpc.reflection.v1.ServerReflectionRequest",
      "grpc.reflection.v1.ServerReflectionResponse",
    ],
    async (request) => {
      const question = parseRequest(request);
      if (question !== undefined) return responseOf(request, await source.ask(question));
      throw new GrpcCallError(GrpcStatus.InvalidArgument, "message_request: nothing is asked");
    },
  );
  return new Map([
    [
      `/${SHOP}/Price`,
      unary(shop.root, ["demo.PriceRequest", "demo.PriceReply"], ({ item = "" }) => ({
        item,
        cents: priceOf(item),
        served_by: name,
      })),
    ],
    [
      `/${SHOP}/Order`,
      unary(shop.root, ["demo.OrderRequest", "demo.OrderReply"], ({ item = "", count = 1 }) => ({
        item,
        count,
        cents: count * priceOf(item),
        served_by: name,
      })),
    ],
    [
      `/${HEALTH}/Check`,
      unary(
        health.root,
        ["grpc.health.v1.HealthCheckRequest", "grpc.health.v1.HealthCheckResponse"],
        ({ service = "" }) => {
          if (service === "" || services.includes(service)) return { status: "SERVING" };
          throw new GrpcCallError(
            GrpcStatus.NotFound,
            `service: there is no ${JSON.stringify(service)} here`,
          );
        },
      ),
    ],
    [`/${REFLECTION}/ServerReflectionInfo`, info],
    [`/${REFLECTION_ALPHA}/ServerReflectionInfo`, info],
  ]);
}
