"""Who did it: the thread and the calls that led to a borrow or a return."""

import sys
import threading
import time
from types import CodeType, FrameType
from typing import Final, NamedTuple

_DEPTH: Final = 12
_OWN: Final = __name__.rpartition(".")[0] + "."


class CallSite(NamedTuple):
    """A moment in some thread. Holds code objects and line numbers, not frames: it keeps no local variable alive."""

    thread: str
    time_ns: int
    """Of the monotonic clock."""
    calls: tuple[tuple[CodeType, int], ...]
    """Innermost first."""

    @classmethod
    def here(cls) -> "CallSite":
        """Remember the calls that led into this package."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_globals.get("__name__", "").startswith(_OWN):
            frame = frame.f_back
        calls: list[tuple[CodeType, int]] = []
        while frame is not None and len(calls) < _DEPTH:
            calls.append((frame.f_code, frame.f_lineno))
            frame = frame.f_back
        return cls(threading.current_thread().name, time.monotonic_ns(), tuple(calls))

    def __str__(self) -> str:
        trail = " < ".join(f"{code.co_filename}:{line} ({code.co_name})" for code, line in self.calls)
        return f"thread {self.thread!r}, {(time.monotonic_ns() - self.time_ns) / 1e9:.3f} s ago, at {trail}"
