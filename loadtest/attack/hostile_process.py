"""Hostile process: runs one attack on a node until its time is over, and says what it did."""

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from random import Random
from typing import Final

from loadtest.node.child_process import end_with_parent

Attack = Callable[[str, Random, float, "Counter[str]"], None]
"""Given the target, a source of randomness, the end on the monotonic clock, and what is to be counted."""

_SPARE_S: Final = 5.0


class HostileProcess:
    """One attack in a process of its own, spawned: gRPC does not survive a fork."""

    def __init__(self, attack: Attack, target: str, seed: int, end: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        arguments = (attack, target, seed, end, theirs, os.getpid())
        self._process = context.Process(target=_run, args=arguments, name="penstock attack", daemon=True)
        self._process.start()
        theirs.close()

    def stop(self) -> Counter[str]:
        """End it, in a few seconds at most; returns what it counted so far."""
        counts: Counter[str] = Counter()
        assert self._process.pid is not None
        if self._process.is_alive():
            os.kill(self._process.pid, signal.SIGCONT)  # one of the attacks stops itself
        try:
            if self._connection.poll(_SPARE_S):
                counts = self._connection.recv()
        except EOFError:
            counts["hostile processes that died"] = 1
        self._process.kill()
        self._process.join()
        self._connection.close()
        return counts


def _run(attack: Attack, target: str, seed: int, end: float, connection: Connection, parent: int) -> None:
    end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    counts: Counter[str] = Counter()
    try:
        attack(target, Random(seed), end, counts)
    finally:
        connection.send(counts)
        os._exit(0)  # whatever is under way is dropped as a crash would drop it
