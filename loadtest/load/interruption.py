"""Interruption of a load: SIGINT and SIGTERM end it early, with a report of what was done by then."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from types import FrameType, TracebackType
from typing import Any, Final, Self, TypeVar

T = TypeVar("T")

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_EXIT_OF_SIGNAL: Final = 128


class Interruption:
    """Notes the first signal while it is entered; the second one ends the process as it always does."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        """The signal that came."""
        self.raises = False
        """Whether the first signal is a KeyboardInterrupt, too."""
        self._before: dict[signal.Signals, Any] = {}
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """What a process exits with that a signal has ended: 130 or 143; 0 where none came."""
        return 0 if self.signal is None else _EXIT_OF_SIGNAL + self.signal

    def run(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The result of some work on an event loop of its own; None where a signal has ended it."""

        async def main() -> T | None:
            task = asyncio.ensure_future(work)
            self._running = asyncio.get_running_loop(), task
            if self:
                task.cancel()
            try:
                return await task
            except asyncio.CancelledError:
                return None
            finally:
                self._running = None

        return asyncio.run(main())

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.signal = signal.Signals(number)
        if self.raises:
            raise KeyboardInterrupt
        if self._running is not None:
            loop, task = self._running
            loop.call_soon_threadsafe(task.cancel)
