"""Child processes with a producer of a queue, which run a script of their own."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from txqueue.queue import LockFreeTxQueue

PRELUDE = """
import os, signal, sys
from pathlib import Path
from tests.txqueue.frames import make
from txqueue.ring import consumer_state, ring
from txqueue.ring import layout as ring_layout
from txqueue.errors import QueueFull
from txqueue.queue import LockFreeTxQueue

queue = LockFreeTxQueue.attach(Path(sys.argv[1]))
producer = queue.register()

def put(token, count=3, size=50):
    frame = make(token, count, size)
    while True:
        try:
            return producer.enqueue(frame.records, frame.payloads, frame.token)
        except QueueFull:
            pass

def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""


@contextmanager
def process(queue: LockFreeTxQueue, script: str, *, first: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """Runs the script with a producer of this queue, and ``first`` before all else; kills it in the end, if need be.

    The process reads what is written to its ``stdin``, a pipe.
    """
    command = [sys.executable, "-c", first + PRELUDE + textwrap.dedent(script), str(queue.path)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdin=subprocess.PIPE) as child:
        try:
            yield child
        finally:
            child.kill()


def run(queue: LockFreeTxQueue, script: str, *, first: str = "") -> int:
    """Runs the script to its end; returns its exit code."""
    with process(queue, script, first=first) as child:
        return child.wait(60)
