"""Memory of a real node, and what it is filled with."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np

from penstock.v1 import txqueue_pb2, txqueue_pb2_grpc
from tests.frames import rows
from tests.node.serve_process import ServeProcess

MIB = 1 << 20
LARGE_ANSWERS = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
"""Of channels that take any answer, each with a connection of its own."""


def resident_mib(node: ServeProcess) -> int:
    """Resident memory without mapped segments of the log, which the kernel takes back when it likes."""
    assert node.process is not None
    found = {}
    for line in Path(f"/proc/{node.process.pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        found[name] = value
    return sum(int(found[name].split()[0]) for name in ("RssAnon", "RssShmem")) >> 10


@contextmanager
def stub(node: ServeProcess) -> Iterator["txqueue_pb2_grpc.TxQueueServiceStub"]:
    with grpc.insecure_channel(node.target) as channel:
        yield txqueue_pb2_grpc.TxQueueServiceStub(channel)


def append_blocks(node: ServeProcess, frames: int, payload_bytes: int) -> None:
    """Give the log frames of 10,000 transactions that change nothing."""
    records = rows(10_000, client_id=5)
    records["payload_length"] = payload_bytes
    with stub(node) as queue:
        for number in range(frames):
            records["sequence"] = np.arange(1, 10_001, dtype=np.uint64) + np.uint64(number * 10_000)
            queue.SubmitFrame(
                txqueue_pb2.SubmitFrameRequest(records=records.tobytes(), payloads=bytes(payload_bytes * 10_000)),
                timeout=30,
            )


def put_values(node: ServeProcess, count: int, value_bytes: int) -> list[bytes]:
    """Put values of random bytes; returns their keys."""
    keys = [b"key %d" % number for number in range(count)]
    with stub(node) as queue:
        for number, key in enumerate(keys, start=1):
            put = txqueue_pb2.Put(key=key, value=os.urandom(value_bytes))
            transaction = txqueue_pb2.Transaction(client_id=9, sequence=number, put=put)
            queue.Submit(txqueue_pb2.SubmitRequest(transaction=transaction), timeout=30)
    return keys
