"""Fuzz: malformed and mutated messages to every method, and bytes that are no messages at all to the socket."""

import time
from collections import Counter
from random import Random
from typing import Any, Final

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from loadtest.attack.http2_socket import DATA, call_headers, connect, frame, message_head, opening
from penstock.contract.record import RECORD
from penstock.contract.target import status_target
from penstock.v1.node_pb2 import GetStatusRequest
from penstock.v1.pooling_pb2 import BorrowBufferRequest, GetPoolMetricsRequest
from penstock.v1.state_pb2 import BatchReadRequest, Key, ReadRequest, WatchRequest
from penstock.v1.txqueue_pb2 import Add, SubmitFrameRequest, SubmitRequest, SubmitStreamRequest, Transaction
from services.rpc.serving.lazy_reflection import OLDER_SERVICE, SERVICE

_CALL_S: Final = 2.0
_STREAM_S: Final = 0.1
"""Of a stream, which may have nothing to give."""
_NO_UTF_8: Final = "/penstock.v1.StateServ\udce9ce/Watch"
_FRAME_RECORDS: Final = 6


def fuzz_messages(target: str, random: Random, end: float, counts: "Counter[str]") -> None:
    """Send mutated messages to every method that changes nothing but what it is told to."""
    with grpc.insecure_channel(target) as opened:
        channel: Any = opened  # typed for messages, and these are bytes
        while time.monotonic() < end:
            for name, (streams_in, streams_out), message in _messages(random):
                content = message if random.random() < 0.1 else _mutated(message, random)
                try:
                    if streams_in:
                        call = channel.stream_stream(name)
                        answers = call(iter([content] * random.randrange(1, 4)), timeout=_STREAM_S)
                        for _ in zip(answers, range(3), strict=False):
                            counts["mutated messages answered"] += 1
                        answers.cancel()
                    elif streams_out:
                        blocks = channel.unary_stream(name)(content, timeout=_STREAM_S)
                        for _ in zip(blocks, range(2), strict=False):
                            counts["mutated messages answered"] += 1
                        blocks.cancel()
                    else:
                        channel.unary_unary(name)(content, timeout=_CALL_S)
                        counts["mutated messages answered"] += 1
                except grpc.RpcError as error:
                    counts[f"mutated messages {error.code().name}"] += 1


def fuzz_socket(target: str, random: Random, end: float, counts: "Counter[str]") -> None:
    """Send what is no HTTP/2, no gRPC, or stops in the middle of either, to where status is told, too."""
    targets = [target, status_target(target) or target]
    while time.monotonic() < end:
        pieces = [
            random.randbytes(random.randrange(1, 4000)),
            opening() + random.randbytes(random.randrange(1, 4000)),
            opening() + frame(random.randrange(12), random.randrange(256), random.randrange(8), random.randbytes(99)),
            opening()
            + call_headers(1, "/penstock.v1.TxQueueService/SubmitStream")
            + frame(DATA, 0, 1, message_head(random.randrange(1 << 32)) + random.randbytes(500)),
            _mutated(opening() + call_headers(1, "/penstock.v1.StateService/Watch"), random),
            opening() + call_headers(1, _NO_UTF_8) + frame(DATA, 1, 1, message_head(0)),
            opening()
            + call_headers(1, "/grpc.health.v1.Health/Check", {"x-name": "Andr\udce9"})
            + frame(DATA, 1, 1, message_head(0)),
        ]
        try:
            with connect(random.choice(targets)) as connection:
                connection.sendall(random.choice(pieces))
                if random.random() < 0.5:
                    connection.settimeout(0.2)
                    connection.recv(4096)
            counts["garbage on the socket"] += 1
        except OSError:
            counts["garbage on the socket, cut off"] += 1


def _messages(random: Random) -> list[tuple[str, tuple[bool, bool], bytes]]:
    """A valid request for each method, with whether it streams in and out."""
    key = Key(namespace=random.randrange(100), value=random.randbytes(random.randrange(1, 40)))
    client, sequence = random.randrange(1, 1 << 60), random.randrange(1, 1 << 20)
    add = Add(key=random.randbytes(5), amount=random.randrange(-9, 9))
    records = b"".join(_record(client, sequence + i, random) for i in range(random.randrange(1, _FRAME_RECORDS)))
    service = HealthCheckRequest(service="penstock.v1.StateService")
    described = ServerReflectionRequest(file_containing_symbol="penstock.v1.StateService")
    queue, state = "/penstock.v1.TxQueueService", "/penstock.v1.StateService"
    submit = SubmitRequest(transaction=Transaction(client_id=client, sequence=sequence, add=add))
    return [
        (f"{queue}/Submit", (False, False), submit.SerializeToString()),
        (f"{queue}/SubmitFrame", (False, False), SubmitFrameRequest(frame_id=1, records=records).SerializeToString()),
        (f"{queue}/SubmitStream", (True, True), SubmitStreamRequest(frame_id=1, records=records).SerializeToString()),
        (f"{state}/Read", (False, False), ReadRequest(key=key).SerializeToString()),
        (f"{state}/BatchRead", (False, False), BatchReadRequest(keys=[key] * 3).SerializeToString()),
        (f"{state}/Watch", (False, True), WatchRequest(from_index=1, namespaces=[3]).SerializeToString()),
        ("/penstock.v1.NodeService/GetStatus", (False, False), GetStatusRequest().SerializeToString()),
        ("/penstock.v1.PoolService/GetPoolMetrics", (False, False), GetPoolMetricsRequest().SerializeToString()),
        ("/penstock.v1.PoolService/BorrowBuffer", (False, False), BorrowBufferRequest().SerializeToString()),
        ("/grpc.health.v1.Health/Check", (False, False), service.SerializeToString()),
        ("/grpc.health.v1.Health/List", (False, False), b""),
        ("/grpc.health.v1.Health/Watch", (False, True), service.SerializeToString()),
        (f"/{SERVICE}/ServerReflectionInfo", (True, True), described.SerializeToString()),
        (f"/{OLDER_SERVICE}/ServerReflectionInfo", (True, True), described.SerializeToString()),
        ("/penstock.v1.StateService/NoSuchMethod", (False, False), b""),
    ]


def _record(client: int, sequence: int, random: Random) -> bytes:
    head = client.to_bytes(8, "little") + sequence.to_bytes(8, "little")
    operation, flags = random.randrange(12), random.choice([0, 0, 0, 1, 2, 4, 255])
    body = bytes(42) if random.random() < 0.5 else random.randbytes(42)
    record = head + body + bytes((operation, flags)) + bytes(4)
    assert len(record) == RECORD.itemsize
    return record


def _mutated(content: bytes, random: Random) -> bytes:
    """The same bytes with one to four changes: flipped, cut, doubled, put in."""
    data = bytearray(content)
    for _ in range(random.randrange(1, 5)):
        at = random.randrange(len(data) + 1)
        match random.randrange(5):
            case 0 if data:
                data[at % len(data)] ^= 1 << random.randrange(8)
            case 1:
                del data[at:]
            case 2:
                data[at:at] = random.randbytes(random.randrange(1, 30))
            case 3:
                data[at:at] = data[:at]
            case _:
                del data[at : at + random.randrange(1, 9)]
    return bytes(data)
