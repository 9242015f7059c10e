"""Hostile clients that ask for more than others leave them room for; each runs in a process of its own."""

import threading
import time
from collections import Counter, deque
from random import Random
from typing import Any

import grpc
from google.rpc import error_details_pb2

from penstock.v1 import node_pb2, node_pb2_grpc, state_pb2, state_pb2_grpc, txqueue_pb2, txqueue_pb2_grpc
from tests.frames import status_of

OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]


def outcome(error: Any) -> str:
    """The reason of a call's error, or its bare status code, or OK."""
    if error is None:
        return "OK"
    info = error_details_pb2.ErrorInfo()
    try:
        details = status_of(error).details
    except (KeyError, TypeError):
        details = []
    if any(detail.Unpack(info) for detail in details):
        return str(info.reason)
    return f"bare {error.code().name}: {error.details()}"


def ask_for_digests(target: str, _: Random, end: float, counts: "Counter[str]") -> None:
    """Have fifty questions for the state's digest open at all times."""
    with grpc.insecure_channel(target, OWN_CONNECTION) as channel:
        stub = node_pb2_grpc.NodeServiceStub(channel)
        request = node_pb2.GetStatusRequest(with_state_digest=True)
        waiting: deque[Any] = deque()
        while time.monotonic() < end:
            while len(waiting) < 50:
                waiting.append(stub.GetStatus.future(request, timeout=60))
            counts[outcome(waiting.popleft().exception())] += 1


def read_in_large_batches(target: str, _: Random, end: float, counts: "Counter[str]") -> None:
    """Have twenty batches of 10,000 keys open at all times, on two connections."""
    keys = [state_pb2.Key(account=number.to_bytes(16, "little")) for number in range(1, 10_001)]
    request = state_pb2.BatchReadRequest(keys=keys)
    channels = [grpc.insecure_channel(target, OWN_CONNECTION) for _ in range(2)]
    waiting: deque[Any] = deque()
    while time.monotonic() < end:
        while len(waiting) < 20:
            stub = state_pb2_grpc.StateServiceStub(channels[len(waiting) % 2])
            waiting.append(stub.BatchRead.future(request, timeout=60))
        counts[outcome(waiting.popleft().exception())] += 1


def open_watches(target: str, _: Random, end: float, counts: "Counter[str]") -> None:
    """Open 8,300 watches, and leave them open."""
    calls: list[Any] = []
    channels = [grpc.insecure_channel(target, OWN_CONNECTION) for _ in range(83)]
    for channel in channels:
        stub = state_pb2_grpc.StateServiceStub(channel)
        calls += [stub.Watch(state_pb2.WatchRequest(), timeout=60) for _ in range(100)]
    threading.Event().wait(max(0.0, end - time.monotonic()))
    for call in calls:
        counts[outcome(call.exception()) if call.done() else "open"] += 1


def burst(target: str, random: Random, end: float, counts: "Counter[str]") -> None:
    """Send 3,000 single transactions at once, again and again."""
    client, sequence = random.randrange(1, 1 << 60), 0
    with grpc.insecure_channel(target, OWN_CONNECTION) as channel:
        stub = txqueue_pb2_grpc.TxQueueServiceStub(channel)
        while time.monotonic() < end:
            waiting: list[Any] = []
            for _ in range(3000):
                sequence += 1
                transaction = txqueue_pb2.Transaction(
                    client_id=client, sequence=sequence, append=txqueue_pb2.Append(payload=b"burst")
                )
                waiting.append(stub.Submit.future(txqueue_pb2.SubmitRequest(transaction=transaction), timeout=60))
            for call in waiting:
                counts[outcome(call.exception())] += 1
