"""Forks: a program with a client forks, and its children exit, use the client that they inherited, or are killed."""

import os
import signal
import time
from collections import Counter
from random import Random
from typing import Final

from penstock.client.blocking_client import Client
from penstock.client.errors import ClientClosed, PenstockError
from penstock.client.operations import Append

_NAMESPACE: Final = 3
_CHILD_S: Final = 3
_USES, _EXITS, _IS_KILLED = range(3)
_CLOSED, _FAILED, _SERVED = 10, 11, 12


def forks(target: str, random: Random, end: float, counts: "Counter[str]") -> None:
    """Fork a program that submits, over and over."""
    with Client(target) as client:
        while time.monotonic() < end:
            what = random.randrange(3)
            child = os.fork()
            if child == 0:
                _be_a_child(client, what)
            if what == _IS_KILLED:
                os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            counts[f"forks, the child {_fate(what, os.waitstatus_to_exitcode(status))}"] += 1
            try:
                client.submit(Append(b"parent", _NAMESPACE))
                counts["forks, the parent goes on"] += 1
            except PenstockError as error:
                counts[f"forks, the parent {type(error).__name__}"] += 1


def _be_a_child(client: Client, what: int) -> None:
    signal.alarm(_CHILD_S)  # a client that hangs is ended by the kernel
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    fate = 0
    if what == _USES:
        try:
            client.submit(Append(b"child", _NAMESPACE))
            fate = _SERVED
        except ClientClosed:
            fate = _CLOSED
        except BaseException:
            fate = _FAILED
    os._exit(fate)


def _fate(what: int, code: int) -> str:
    if what != _USES:
        return "exits" if what == _EXITS else "is killed"
    named = {_CLOSED: "finds its client closed", _SERVED: "is served", _FAILED: "fails", -signal.SIGALRM: "hangs"}
    return named.get(code, f"ends with {code}")
