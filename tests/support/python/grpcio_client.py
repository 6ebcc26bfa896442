"""Calls by grpcio, whose core is not grpc-go's, against the service of tests/support/go/grpc_backend.

The first argument is the address of the server, the others are the cases to run. What came of each is
printed as one object of JSON. Messages are made from what the server's reflection says of them.
"""

import json
import sys
import time

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

SERVICE = "grpc.testing.TestService"
LIMIT = 20  # seconds that a call may take before it counts as hanging
BIG = 4 * 1024 * 1024
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Client:
    """Methods of the service by name, over one channel."""

    def __init__(self, addr, pool, options=()):
        self.channel = grpc.insecure_channel(addr, options=[*OPTIONS, *options])
        self._service = pool.FindServiceByName(SERVICE)

    def method(self, name):
        method = self._service.methods_by_name[name]
        kind = (
            f"{'stream' if method.client_streaming else 'unary'}_"
            f"{'stream' if method.server_streaming else 'unary'}"
        )
        return getattr(self.channel, kind)(
            f"/{SERVICE}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )

    def request(self, name, **fields):
        return GetMessageClass(self._service.methods_by_name[name].input_type)(**fields)


def body(size):
    return bytes(range(256)) * (size // 256)


def unary(client):
    answer = client.method("UnaryCall")(
        client.request("UnaryCall", payload={"body": body(1024)}), timeout=LIMIT
    )
    return answer.payload.body == body(1024)


def big_message(client):
    answer = client.method("UnaryCall")(
        client.request("UnaryCall", payload={"body": body(BIG)}), timeout=LIMIT
    )
    return answer.payload.body == body(BIG)


def server_stream(client):
    request = client.request(
        "StreamingOutputCall",
        response_parameters=[{"size": size} for size in (31415, 9, 2653, 58979)],
    )
    call = client.method("StreamingOutputCall")(request, timeout=LIMIT)
    return [len(answer.payload.body) for answer in call]


def client_stream(client):
    requests = (
        client.request("StreamingInputCall", payload={"body": bytes(size)})
        for size in (27182, 8, 1828, 45904)
    )
    return client.method("StreamingInputCall")(requests, timeout=LIMIT).aggregated_payload_size


def both_streams(client):
    requests = (
        client.request("FullDuplexCall", payload={"body": bytes([i]) * (i * 1000)}) for i in range(20)
    )
    call = client.method("FullDuplexCall")(requests, timeout=LIMIT, metadata=[("echo", "1")])
    return [answer.payload.body == bytes([i]) * (i * 1000) for i, answer in enumerate(call)]


def metadata(client):
    _, call = client.method("UnaryCall").with_call(
        client.request("UnaryCall"),
        timeout=LIMIT,
        metadata=[
            ("x-grpc-test-echo-initial", "as it was sent"),
            ("x-grpc-test-echo-trailing-bin", bytes(range(256))),
        ],
    )
    return {
        "initial": dict(call.initial_metadata())["x-grpc-test-echo-initial"],
        "trailing": dict(call.trailing_metadata())["x-grpc-test-echo-trailing-bin"].hex(),
    }


def failure(call):
    """How a call failed; it is a failure if it did not."""
    try:
        call()
    except grpc.RpcError as error:
        details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
        return {"code": error.code().name, "message": error.details(), "details": details.hex()}
    return "did not fail"


def error(client):
    request = client.request(
        "UnaryCall", response_status={"code": 9, "message": "\t\ntest ☺ 😈 50%\t"}
    )
    return failure(lambda: client.method("UnaryCall")(request, timeout=LIMIT))


def unimplemented(client):
    return failure(
        lambda: client.method("UnimplementedCall")(
            client.request("UnimplementedCall"), timeout=LIMIT
        )
    )


def deadline(client):
    request = client.request(
        "StreamingOutputCall",
        response_parameters=[{"size": 1}, {"size": 1, "interval_us": 3_000_000}],
    )
    call = client.method("StreamingOutputCall")(request, timeout=0.5)
    came = len(next(call).payload.body)
    return {"came": came, "code": failure(lambda: next(call))["code"]}


def cancellation(client):
    request = client.request(
        "StreamingOutputCall",
        response_parameters=[{"size": 1}, {"size": 1, "interval_us": 3_000_000}],
    )
    call = client.method("StreamingOutputCall")(request, timeout=LIMIT)
    came = len(next(call).payload.body)
    call.cancel()
    return {"came": came, "code": failure(lambda: next(call))["code"]}


def many_at_once(client):
    method = client.method("UnaryCall")
    calls = [
        method.future(
            client.request("UnaryCall", payload={"body": i.to_bytes(4, "big")}), timeout=LIMIT
        )
        for i in range(500)
    ]
    return sum(call.result().payload.body == i.to_bytes(4, "big") for i, call in enumerate(calls))


def gzip(client):
    outcome = {}
    for compressed in (True, False):
        request = client.request(
            "UnaryCall",
            payload={"body": bytes(271828)},
            expect_compressed={"value": compressed},
            response_compressed={"value": not compressed},
        )
        compression = grpc.Compression.Gzip if compressed else None
        answer = client.method("UnaryCall")(request, timeout=LIMIT, compression=compression)
        outcome[f"compressed: {compressed}"] = answer.payload.body == bytes(271828)
    return outcome


def keepalive(addr, pool):
    """An idle stream whose channel pings: what came before and after."""
    options = [
        ("grpc.keepalive_time_ms", 500),
        ("grpc.keepalive_timeout_ms", 2000),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    client = Client(addr, pool, options)

    def requests():
        yield client.request("FullDuplexCall", payload={"body": b"before"})
        time.sleep(3)
        yield client.request("FullDuplexCall", payload={"body": b"after"})

    call = client.method("FullDuplexCall")(requests(), timeout=LIMIT, metadata=[("echo", "1")])
    outcome = [answer.payload.body.decode() for answer in call]
    client.channel.close()
    return outcome


CASES = {
    case.__name__: case
    for case in (
        unary,
        big_message,
        server_stream,
        client_stream,
        both_streams,
        metadata,
        error,
        unimplemented,
        deadline,
        cancellation,
        many_at_once,
        gzip,
    )
}


def main(addr, names):
    reflection = grpc.insecure_channel(addr)
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(reflection))
    client = Client(addr, pool)
    outcomes = {}
    for name in names:
        try:
            if name == "keepalive":
                outcomes[name] = keepalive(addr, pool)
            else:
                outcomes[name] = CASES[name](client)
        except grpc.RpcError as problem:
            outcomes[name] = f"failed with {problem.code().name}: {problem.details()}"
    client.channel.close()
    reflection.close()
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
