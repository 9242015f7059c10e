"""A call site: the thread and the calls that led to a borrow or a return, for messages about leaks and misuse."""

import sys
import threading
from types import CodeType, FrameType
from typing import Final, NamedTuple

_DEPTH_MAX: Final = 12
_OWN_PACKAGE: Final = __name__.rpartition(".")[0] + "."


class CallSite(NamedTuple):
    """A moment in a thread. It has code objects and line numbers instead of frames, so it keeps no local alive."""

    thread: str
    time_ns: int
    """On the pool's monotonic clock."""
    calls: tuple[tuple[CodeType, int], ...]
    """Code object and line number of each call, innermost first, those inside this package left out."""

    @classmethod
    def here(cls, now_ns: int) -> "CallSite":
        """Record the calls that led into this package."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_globals.get("__name__", "").startswith(_OWN_PACKAGE):
            frame = frame.f_back
        calls: list[tuple[CodeType, int]] = []
        while frame is not None and len(calls) < _DEPTH_MAX:
            calls.append((frame.f_code, frame.f_lineno))
            frame = frame.f_back
        return cls(threading.current_thread().name, now_ns, tuple(calls))


def describe(call_site: CallSite | None, now_ns: int) -> str:
    """Describe a call site for a message; None is one that was not recorded."""
    if call_site is None:
        return "a caller that was not traced (see PoolOptions.trace)"
    calls = " < ".join(f"{code.co_filename}:{line} ({code.co_name})" for code, line in call_site.calls)
    return f"thread {call_site.thread!r}, {(now_ns - call_site.time_ns) / 1e9:.3f} s ago, at {calls}"
