"""Waiting for what another process or thread does, where there is nothing to wait on."""

import threading
import time
from collections.abc import Callable

_LOOK_EVERY_S = 0.005


def eventually(condition: Callable[[], object], what: str, *, timeout_s: float = 30.0) -> None:
    """Return once ``condition`` is true; fails, saying ``what`` did not come, when the time is over.

    The one place in the tests where time passes unused. What runs in the test's own process takes a clock and an
    executor (``tests/fakes.py``) instead.
    """
    pause = threading.Event()
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"{what} did not come within {timeout_s} s"
        pause.wait(_LOOK_EVERY_S)
