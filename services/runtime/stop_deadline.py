"""The stop deadline: ends the process where its orderly end does not come, whatever hangs.

A thread that waits for a dead disk cannot be interrupted, and what waits for that thread waits with it: the end is the
process's. What was answered is in the log by then, and what was not is unknown to whoever sent it, as after a kill.
"""

import logging
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from penstock.host.clock import SYSTEM_CLOCK, Clock
from penstock.host.executor import THREADS, Executor

EXIT_CUT: Final = 75
"""EX_TEMPFAIL of sysexits.h: the node was told to stop and had to be cut off before it had closed everything."""

_log = logging.getLogger("penstock.node")


class StopDeadline:
    """A context manager: the process ends with `EXIT_CUT` where, after `begin`, its block does not end in time."""

    def __init__(
        self,
        timeout_s: float,
        clock: Clock = SYSTEM_CLOCK,
        executor: Executor = THREADS,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        """Allow ``timeout_s`` seconds from `begin` on; ``end`` ends the process at once, by an exit code."""
        self._timeout_s = timeout_s
        self._clock = clock
        self._executor = executor
        self._end = end
        self._met = threading.Event()
        self._begun = False

    def begin(self) -> None:
        """Begin to count; a second time changes nothing."""
        if self._begun:
            return
        self._begun = True
        try:
            self._executor.start("stop-deadline", self._watch)
        except RuntimeError as error:  # a node that can start no thread has the more reason to stop
            _log.warning("the node stops without a bound on the time it takes: %s", error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._met.set()

    def _watch(self) -> None:
        if not self._clock.wait(self._met, self._timeout_s):
            self.cut(f"it has not stopped after {self._timeout_s:g} s: something hangs, for example its disk")

    def cut(self, why: str) -> None:
        """End the process now."""
        _log.critical("the node is cut off: %s. What was answered is in the log; a restart recovers it", why)
        self._end(EXIT_CUT)
