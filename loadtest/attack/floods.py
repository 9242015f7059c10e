"""Floods: more of everything than any client needs, of which nothing is ever taken back."""

import time
from collections import Counter, deque
from contextlib import ExitStack, suppress
from random import Random
from typing import Any, Final

import grpc
import numpy as np

from loadtest.attack.half_sender import HalfSender
from loadtest.attack.http2_socket import connect, opening
from penstock.contract.record import RECORD
from penstock.v1.state_pb2 import WatchRequest
from penstock.v1.state_pb2_grpc import StateServiceStub
from penstock.v1.txqueue_pb2 import Append, SubmitFrameRequest, SubmitRequest, Transaction
from penstock.v1.txqueue_pb2_grpc import TxQueueServiceStub

_NAMESPACE: Final = 3
_CONNECTIONS: Final = 1500
_STREAMS: Final = 3000
_STREAMS_OF_CHANNEL: Final = 90
_BURST: Final = 3000
_HALVES: Final = 100
_HALF_BYTES: Final = (6 << 20) - 1024
"""Just below what the node takes for one message."""
_CLIENTS_OF_FRAME: Final = 2000
_END_SESSION: Final = 8


def idle_connections(target: str, random: Random, end: float, counts: "Counter[str]") -> None:
    """Open connections and say nothing, or next to nothing."""
    with ExitStack() as stack:
        while time.monotonic() < end and counts["idle connections"] < _CONNECTIONS:
            try:
                connection = stack.enter_context(connect(target))
                connection.sendall(opening()[: random.choice([0, 3, 24, 33])])
                counts["idle connections"] += 1
            except OSError:
                counts["idle connections refused"] += 1
                time.sleep(0.05)
        _wait_until(end)


def open_streams(target: str, random: Random, end: float, counts: "Counter[str]") -> None:
    """Open watches by the thousand, and leave them open."""
    with ExitStack() as stack:
        calls: list[Any] = []
        while time.monotonic() < end and len(calls) < _STREAMS:
            channel = stack.enter_context(grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]))
            for _ in range(_STREAMS_OF_CHANNEL):
                call = StateServiceStub(channel).Watch(WatchRequest(namespaces=[random.randrange(1000)]), timeout=600.0)
                calls.append(call)
                counts["open watches"] += 1
        _wait_until(end)
        for call in calls:
            call.cancel()


def bursts(target: str, random: Random, end: float, counts: "Counter[str]") -> None:
    """Send thousands of single transactions at once, again and again."""
    client, sequence = random.randrange(1, 1 << 60), 0
    with grpc.insecure_channel(target) as channel:
        stub = TxQueueServiceStub(channel)
        while time.monotonic() < end:
            waiting: deque[Any] = deque()
            for _ in range(_BURST):
                sequence += 1
                transaction = Transaction(
                    client_id=client, sequence=sequence, namespace=_NAMESPACE, append=Append(payload=b"burst")
                )
                waiting.append(stub.Submit.future(SubmitRequest(transaction=transaction), timeout=10.0))
            while waiting:
                error = waiting.popleft().exception()
                kind = error.code().name if isinstance(error, grpc.RpcError) else "OK"
                counts[f"burst of calls {kind}"] += 1


def half_sent_messages(target: str, random: Random, end: float, counts: "Counter[str]") -> None:
    """Send nearly all of a message on each of many connections, as fast as the node takes it, and stop."""
    method = random.choice(["TxQueueService/SubmitStream", "TxQueueService/SubmitFrame", "StateService/BatchRead"])
    senders: list[HalfSender] = []
    while time.monotonic() < end and len(senders) < _HALVES:
        with suppress(OSError):
            senders.append(HalfSender(target))
            senders[-1].call(f"/penstock.v1.{method}", _HALF_BYTES)
            counts["half-sent messages"] += 1
    sent = 0
    while time.monotonic() < end:
        moved = sum(sender.pump() for sender in senders)
        sent += moved
        if not moved:
            time.sleep(0.01)
    counts["half-sent KiB"] += sent >> 10
    for sender in senders:
        counts["half-sent messages ended by the node"] += sender.ended.total()
        sender.close()


def invented_clients(target: str, random: Random, end: float, counts: "Counter[str]") -> None:
    """Submit one transaction each of clients that never come again, far apart in their sequences."""
    _submit_frames(target, random, end, counts, "transactions of invented clients", ends=False)


def session_ends(target: str, random: Random, end: float, counts: "Counter[str]") -> None:
    """End sessions of clients that never were."""
    _submit_frames(target, random, end, counts, "ends of invented sessions", ends=True)


def _submit_frames(target: str, random: Random, end: float, counts: "Counter[str]", name: str, *, ends: bool) -> None:
    with grpc.insecure_channel(target) as channel:
        submit: Any = channel.unary_unary("/penstock.v1.TxQueueService/SubmitFrame")
        while time.monotonic() < end:
            records = np.zeros(_CLIENTS_OF_FRAME, RECORD)
            records["client_id"] = np.frombuffer(random.randbytes(8 * _CLIENTS_OF_FRAME), np.uint64)
            records["sequence"] = random.randrange(1, 1 << 40)
            records["operation"] = _END_SESSION if ends else 1
            records["namespace"] = 0 if ends else _NAMESPACE
            request = SubmitFrameRequest(frame_id=1, records=records.tobytes())
            try:
                submit(request.SerializeToString(), timeout=5.0)
                counts[name] += _CLIENTS_OF_FRAME
            except grpc.RpcError as error:
                counts[f"{name} {error.code().name}"] += _CLIENTS_OF_FRAME
            time.sleep(0.1)


def _wait_until(end: float) -> None:
    time.sleep(max(0.0, end - time.monotonic()))
