"""Slow readers: ask for much, and do not take it."""

import os
import signal
import time
from collections import Counter
from random import Random
from typing import Any, Final

import grpc

from penstock.v1.state_pb2 import BatchReadRequest, Key, WatchRequest
from penstock.v1.state_pb2_grpc import StateServiceStub

_READERS: Final = 40
_KEYS: Final = 10_000
_ROOM: Final = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]


def unread_watches(target: str, random: Random, end: float, counts: "Counter[str]") -> None:
    """Watch from the first block on, and read one."""
    channels: list[grpc.Channel] = []
    calls: list[Any] = []
    while time.monotonic() < end and len(calls) < _READERS:
        channels.append(grpc.insecure_channel(target, _ROOM))
        call = StateServiceStub(channels[-1]).Watch(WatchRequest(from_index=1))
        calls.append(call)
        try:
            next(call)
            counts["unread watches"] += 1
        except grpc.RpcError as error:
            counts[f"unread watches {error.code().name}"] += 1
    del random
    time.sleep(max(0.0, end - time.monotonic()))


def unread_reads(target: str, random: Random, end: float, counts: "Counter[str]") -> None:
    """Ask for batches of entries and stop the whole process, so that no answer is ever taken from the socket."""
    channels: list[grpc.Channel] = []
    calls: list[Any] = []
    keys = [Key(namespace=40_000, value=f"lane {random.randrange(8)}".encode()) for _ in range(_KEYS)]
    for _ in range(_READERS):
        channels.append(grpc.insecure_channel(target, _ROOM))
        calls.append(StateServiceStub(channels[-1]).BatchRead.future(BatchReadRequest(keys=keys)))
        counts["unread batches"] += 1
    if time.monotonic() < end:
        os.kill(os.getpid(), signal.SIGSTOP)  # whoever started this process lets it go on at the end
