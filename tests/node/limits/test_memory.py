"""Whatever clients send in halves or do not read, a node holds a bounded part of it, and keeps nothing afterwards."""

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from loadtest.attack.half_sender import HalfSender
from penstock.v1 import state_pb2, state_pb2_grpc
from tests.eventually import eventually
from tests.node.limits.memory import LARGE_ANSWERS, MIB, append_blocks, put_values, resident_mib
from tests.node.serve_process import ServeProcess

pytestmark = pytest.mark.slow

CALL_MIB = 64
"""The least that admission.call_bytes_max may be."""
SLACK_MIB = 150
"""What comes in between two looks of the guard, and until those whose calls it ends have let go: of 600 MiB that are
sent, 90 to 125 were held besides the bound."""
STAYS_MIB = 24


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ServeProcess]:
    with ServeProcess(tmp_path, f"--set=admission.call_bytes_max={CALL_MIB * MIB}") as running:
        yield running


def returns_to(node: ServeProcess, before_mib: int) -> None:
    eventually(lambda: resident_mib(node) <= before_mib + STAYS_MIB, "memory that is given back", timeout_s=30)


def pumped(senders: list[HalfSender], node: ServeProcess, quiet_s: float = 1.5, end_s: float = 30.0) -> int:
    """Send until nothing has moved for a while; returns the most that the node held."""
    most, moved_at, end = 0, time.monotonic(), time.monotonic() + end_s
    while time.monotonic() < min(end, moved_at + quiet_s):
        if sum(sender.pump() for sender in senders):
            moved_at = time.monotonic()
        most = max(most, resident_mib(node))
    return most


@pytest.mark.parametrize("method", ["TxQueueService/SubmitStream", "TxQueueService/SubmitFrame", "StateService/Read"])
def test_halves_of_the_largest_messages_on_a_hundred_connections_are_bounded_together(
    node: ServeProcess, method: str
) -> None:
    before = resident_mib(node)
    senders = [HalfSender(node.target) for _ in range(100)]
    for sender in senders:
        sender.call(f"/penstock.v1.{method}", (6 * MIB) - 1024)
    assert pumped(senders, node) <= before + CALL_MIB + SLACK_MIB
    ended: Counter[str] = sum((sender.ended for sender in senders), Counter())
    assert set(ended) == {"trailers"}, "each call that was ended got a status"
    assert ended["trailers"] >= 100 - CALL_MIB // 5
    assert node.healthy()
    for sender in senders:
        sender.close()
    returns_to(node, before)


def test_a_message_of_16_mib_is_not_received_at_all(node: ServeProcess) -> None:
    before = resident_mib(node)
    senders = [HalfSender(node.target) for _ in range(100)]
    for sender in senders:
        sender.call("/penstock.v1.TxQueueService/SubmitStream", 16 * MIB)
    assert pumped(senders, node) <= before + SLACK_MIB, "of 1,600 MiB: what a hundred connections hold unread"
    for sender in senders:
        sender.close()
    returns_to(node, before)


def test_halves_on_a_hundred_calls_of_one_connection_are_bounded_together(node: ServeProcess) -> None:
    before = resident_mib(node)
    sender = HalfSender(node.target)
    for _ in range(100):
        sender.call("/penstock.v1.StateService/Read", (6 * MIB) - 1024)
    assert pumped([sender], node) <= before + CALL_MIB + SLACK_MIB
    sender.close()
    returns_to(node, before)


def test_forty_watches_that_are_not_read_are_bounded_and_keep_nothing(node: ServeProcess) -> None:
    append_blocks(node, frames=60, payload_bytes=100)
    time.sleep(2)  # noqa: TID251 - until what the frames took has been given back
    before = resident_mib(node)
    with ExitStack() as stack:
        for _ in range(40):
            channel = stack.enter_context(grpc.insecure_channel(node.target, LARGE_ANSWERS))
            call = state_pb2_grpc.StateServiceStub(channel).Watch(state_pb2.WatchRequest(from_index=1))
            next(call)
        most = max_over(2.0, lambda: resident_mib(node))
        assert most <= before + 40 * 3
    returns_to(node, before)


ASK_AND_STOP = """
import os, signal, sys, grpc
from penstock.v1 import state_pb2, state_pb2_grpc
channels = [grpc.insecure_channel(sys.argv[1], %r) for _ in range(60)]
keys = [state_pb2.Key(value=key.encode()) for key in sys.argv[2:]]
calls = []
for channel in channels:
    grpc.channel_ready_future(channel).result(20)
    calls.append(state_pb2_grpc.StateServiceStub(channel).BatchRead.future(state_pb2.BatchReadRequest(keys=keys)))
os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_sixty_answers_of_11_mb_that_are_not_read_are_bounded_and_keep_nothing(node: ServeProcess) -> None:
    keys = put_values(node, 11, MIB - 2000)
    before = resident_mib(node)
    command = [sys.executable, "-c", ASK_AND_STOP % LARGE_ANSWERS, node.target, *(key.decode() for key in keys)]
    client = subprocess.Popen(command)
    try:
        most = max_over(8.0, lambda: resident_mib(node))
        assert before + 11 < most <= before + 2 * 128
    finally:
        client.send_signal(signal.SIGKILL)
        client.wait()
    returns_to(node, before)


def test_a_batch_of_three_million_empty_keys_costs_its_bytes_alone(node: ServeProcess) -> None:
    before = resident_mib(node)
    with grpc.insecure_channel(node.target) as channel:
        call: Any = channel.unary_unary("/penstock.v1.StateService/BatchRead")
        for _ in range(5):
            with pytest.raises(grpc.RpcError) as caught:
                call(b"\x0a\x00" * (6 * MIB // 2 - 100), timeout=30)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert resident_mib(node) <= before + 8 * 6
    returns_to(node, before)


def test_a_watch_of_six_million_namespaces_costs_its_bytes_alone(node: ServeProcess) -> None:
    before = resident_mib(node)
    request = state_pb2.WatchRequest(namespaces=[1]).SerializeToString()[:1] + b"\xf0\xff\x7f" + b"\1" * 2097136
    with grpc.insecure_channel(node.target) as channel:
        call: Any = channel.unary_stream("/penstock.v1.StateService/Watch")
        for _ in range(5):
            with pytest.raises(grpc.RpcError) as caught:
                next(call(request, timeout=30))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert resident_mib(node) <= before + 8 * 6
    returns_to(node, before)


def max_over(seconds: float, measure: Callable[[], int]) -> int:
    """The most that was measured within so many seconds."""
    most, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        most = max(most, measure())
    return most
