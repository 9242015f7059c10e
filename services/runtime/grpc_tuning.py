"""gRPC tuning: the thread that reads a server's sockets, which gRPC takes from the environment when it is imported."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_NAME: Final = "GRPC_EXPERIMENTS"
_VALUE: Final = "-event_engine_listener"


def read_where_it_is_awaited() -> None:
    """Have gRPC read sockets in the thread that waits for messages, and not through a pool of threads.

    A frame of 640 kB comes in several pieces, for each of which the pool switches threads. Measured: 6 % more
    transactions per second of a node, a third more of a server that does nothing. Older versions of gRPC had only this
    way; a version without the choice logs that it does not know it. A choice that stands in the environment already is
    kept. Call this before gRPC is imported; afterwards it has no effect.
    """
    os.environ.setdefault(_NAME, _VALUE)


@contextmanager
def children_read_where_it_is_awaited() -> Iterator[None]:
    """Make the same choice for processes started inside, where gRPC may be imported before any code of ours runs."""
    before = os.environ.get(_NAME)
    os.environ.setdefault(_NAME, _VALUE)
    yield
    if before is None:
        del os.environ[_NAME]
