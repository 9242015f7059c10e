"""Support of the process that a client runs in: what a fork leaves of it, and where no client can run at all.

gRPC's threads do not exist in a forked child, and its locks may be held for ever there. A client that a child inherits
is closed to it before it can touch any of this, and never taken apart. A client that the child makes itself speaks
through `child_channel` where gRPC was running at the fork, and through gRPC where all clients were closed before.
"""

import atexit
import ctypes
import gc
import os
import sys
from typing import Final, Protocol
from weakref import WeakSet

from penstock.client.errors import UnsupportedRuntime

CLOSED: Final = "this client is closed, or was made before this process was forked: make a new one"


class OpenClient(Protocol):
    """A client that uses gRPC."""

    def close_at_exit(self) -> None:
        """The interpreter ends: warn, and disconnect where that takes no event loop that has stopped."""

    def close_in_child(self) -> None:
        """Refuse every use in this process, without touching gRPC, locks or the event loop."""


_open: "WeakSet[OpenClient]" = WeakSet()
_grpc_left_behind = False
_garbage = False
"""A closed client may not have been collected, and gRPC runs as long as anything of it is there."""


def register(client: OpenClient) -> None:
    """``client`` uses gRPC from now on."""
    _open.add(client)


def unregister(client: OpenClient) -> None:
    """``client`` no longer uses gRPC."""
    _open.discard(client)
    left_garbage()


def left_garbage() -> None:
    """A client has ended, and not all of it may have been collected."""
    global _garbage
    _garbage = True


def grpc_left_behind() -> bool:
    """Whether gRPC was running when this process, or one that it descends from, was forked: it cannot run here."""
    return _grpc_left_behind


def check() -> None:
    """Check that a client can run in this process.

    Raises:
        UnsupportedRuntime: it cannot; the message says why, and what to do.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and (monkey.is_module_patched("threading") or monkey.is_module_patched("socket")):
        raise UnsupportedRuntime(
            "gevent has patched this process, and the client's event loop and gRPC need real threads and sockets: run "
            "the client in a process of its own, or without gevent.monkey"
        )


def _before_fork() -> None:
    global _garbage
    if _garbage:
        _garbage = False
        gc.collect()


def _after_fork_in_child() -> None:
    global _grpc_left_behind
    for client in list(_open):
        _grpc_left_behind = True
        client.close_in_child()
        # gRPC's destructors would wait for threads that are not here, or abort: what was inherited stays for good.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(client))
    _open.clear()


def _close_at_exit() -> None:
    for client in list(_open):
        client.close_at_exit()


atexit.register(_close_at_exit)  # before daemon threads stop: whoever waits for a client's would wait for ever
os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
