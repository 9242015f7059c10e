"""Executors: what runs beside its caller. Threads, or the turns that a simulation gives."""

import threading
from collections.abc import Callable
from typing import Final, Protocol


class Running(Protocol):
    """Something that runs beside its caller."""

    def join(self) -> None:
        """Wait until it has ended."""


class Executor(Protocol):
    """Runs functions beside their callers."""

    def start(self, name: str, function: Callable[[], None]) -> Running:
        """Begin to run ``function``, which returns when it is told to stop by means of its own."""


class ThreadExecutor:
    """A daemon thread for each function."""

    def start(self, name: str, function: Callable[[], None]) -> Running:
        """See :class:`Executor`."""
        thread = threading.Thread(target=function, name=name, daemon=True)
        thread.start()
        return thread


THREADS: Final = ThreadExecutor()
