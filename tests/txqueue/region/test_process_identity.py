"""Processes are told dead from alive."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.txqueue.frames import FrameReceiver
from tests.txqueue.producer_process import process
from txqueue.errors import ProducersExhausted
from txqueue.queue import LockFreeTxQueue
from txqueue.region import process_identity

WAIT = [sys.executable, "-c", "print(flush=True); input()"]

END_FIRST_THREAD = """
import ctypes, threading

def put_one_for_each_line():
    for token, _ in enumerate(sys.stdin):
        put(token)

threading.Thread(target=put_one_for_each_line).start()
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
    with subprocess.Popen(WAIT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
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
        assert child.stdin is not None
        receiver = FrameReceiver(queue)
        eventually(lambda: state_of(child.pid) == "Z", "the end of the first thread")
        for token in range(3):
            child.stdin.write(b"\n")
            child.stdin.flush()
            assert queue.wait(60), "it does not go on"
            assert [frame.token for frame in receiver.receive()] == [token]
            with pytest.raises(ProducersExhausted):  # although none of its frames waits
                queue.register()
        child.kill()
        assert child.wait(60) == -signal.SIGKILL
        queue.register().close()
