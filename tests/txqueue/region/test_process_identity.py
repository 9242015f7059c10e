"""Processes are told dead from alive."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.txqueue.frames import FrameConsumer
from tests.txqueue.test_queue_processes import process
from txqueue.errors import ProducersExhausted
from txqueue.queue import LockFreeTxQueue
from txqueue.region import process_identity

SLEEP = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]

END_FIRST_THREAD = """
import ctypes, threading, time

def go_on():
    for token in range(600):
        put(token)
        time.sleep(0.1)

threading.Thread(target=go_on).start()
ctypes.CDLL(None).pthread_exit(None)
"""
"""The producer's thread goes on in a process whose first thread has ended."""


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def name_of(pid: int) -> int:
    start = process_identity._start_ticks(pid)
    assert start is not None
    return process_identity._identity(pid, start)


def test_a_process_is_alive_until_it_is_killed_and_dead_before_it_is_reaped() -> None:
    with subprocess.Popen(SLEEP, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        name = name_of(child.pid)
        assert process_identity.is_alive(name)
        assert name.bit_length() <= process_identity.IDENTITY_BITS
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert state_of(child.pid) == "Z"
        assert not process_identity.is_alive(name)
        child.wait()
        assert not process_identity.is_alive(name)


def test_another_process_with_the_same_id_is_not_taken_for_it() -> None:
    assert process_identity.is_alive(process_identity.this_process())
    assert not process_identity.is_alive(process_identity.this_process() ^ 1 << 22)


def test_a_producer_outlives_the_first_thread_of_its_process(tmp_path: Path) -> None:
    with (
        LockFreeTxQueue.create(tmp_path / "ring", slots=4, producers=1, buffer_bytes=1 << 16) as queue,
        process(queue, END_FIRST_THREAD) as child,
    ):
        taker = FrameConsumer(queue)
        until = time.monotonic() + 60
        while state_of(child.pid) != "Z":
            assert time.monotonic() < until
            time.sleep(0.01)
        published = queue.get_queue_metrics().frames_enqueued
        while queue.get_queue_metrics().frames_enqueued < published + 3:
            assert time.monotonic() < until, "it does not go on"
            while taker.take():
                pass
            with pytest.raises(ProducersExhausted):  # although none of its frames waits
                queue.register()
        child.kill()
        assert child.wait(60) == -signal.SIGKILL
        while taker.take():
            pass
        queue.register().close()
