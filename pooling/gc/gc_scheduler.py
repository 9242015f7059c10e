"""Python's cycle collector, run when it does not hurt.

CPython frees most objects by reference counts alone; the collector looks for cycles, and stops all Python code
meanwhile, for as long as it takes to visit every container of a generation. Left alone, it runs when enough was
allocated, which under load is when it hurts most, and its full runs visit everything that was ever imported. So:

- What lives as long as the process is *frozen*: collections do not visit it any more.
- Collections are asked for, not triggered: full ones while nothing is under way, young ones under load once a budget
  of new objects is used up, which bounds what one visits. What survived those adds up to a budget of its own.
- The automatic trigger stays as a backstop, far out, for a process whose ticks do not come.
"""

import gc
import time
from collections.abc import Callable
from typing import Any, Final

from pooling.gc.gc_pauses import GcPauses, PauseStatistics

_YOUNG_BUDGET: Final = 5_000
"""New containers that a collection under load visits: a fraction of a millisecond."""
_SURVIVOR_BUDGET: Final = 20_000
"""Survivors that a full collection under load visits: about a millisecond."""
_BACKSTOP: Final = 200_000
_IDLE_TICKS: Final = 3
"""Quiet ticks before a full collection: less is a gap between two frames."""
_BUSY_TICKS_MAX: Final = 1200
"""Ticks under load until a full collection all the same, for what has died since it survived one: a minute's."""
_FULL: Final = 2


class GcScheduler:
    """Decides when to collect, and measures how long it takes. The process has one collector, so use one of these.

    Life: `start` once what lives long is there, `tick` some ten times a second from one thread, `stop`.
    """

    def __init__(self, on_pause: Callable[[int], None] | None = None) -> None:
        """Report each pause, in nanoseconds, to ``on_pause``, which must be quick and make no cycles itself."""
        self._on_pause = on_pause
        self._pauses = GcPauses()
        self._started_ns = 0
        self._survivors = 0
        self._quiet_ticks = 0
        self._busy_ticks = 0
        """Since the last full collection."""
        self._in_charge = False
        self._settings_before: tuple[int, int, int] | None = None

    def start(self, *, take_over: bool = True) -> None:
        """Collect once, freeze what is left, and take over; or only measure what Python does by itself."""
        assert self._settings_before is None, "a collector is started once"
        self._settings_before = gc.get_threshold()
        self._in_charge = take_over
        if take_over:
            gc.collect()
            gc.freeze()
            gc.set_threshold(_BACKSTOP, *self._settings_before[1:])
        gc.callbacks.append(self._observe)

    def stop(self) -> None:
        """Give everything back to Python's own ways. Does nothing where it was not started."""
        if self._settings_before is None:
            return
        gc.callbacks.remove(self._observe)
        if self._in_charge:
            gc.set_threshold(*self._settings_before)
            gc.unfreeze()
        self._settings_before = None

    def tick(self, *, busy: bool) -> None:
        """Collect where there is reason to; ``busy``: something was under way since the last tick."""
        assert self._settings_before is not None, "start comes first"
        if not self._in_charge:
            return
        self._quiet_ticks = 0 if busy else self._quiet_ticks + 1
        self._busy_ticks += busy
        young = gc.get_count()[0]
        if (
            self._quiet_ticks == _IDLE_TICKS
            or self._survivors >= _SURVIVOR_BUDGET
            or self._busy_ticks >= _BUSY_TICKS_MAX
        ):
            gc.collect(_FULL)
            self._survivors = self._busy_ticks = 0
        elif young >= _YOUNG_BUDGET:
            self._survivors += young - gc.collect(1)

    def get_metrics(self) -> PauseStatistics:
        """Tell how long collections took, since `start`."""
        return self._pauses.read()

    def _observe(self, phase: str, _: dict[str, Any]) -> None:
        """Time a collection: ``gc.callbacks`` call this at its start and its stop, and never nested."""
        if phase == "start":
            self._started_ns = time.perf_counter_ns()
            return
        pause_ns = time.perf_counter_ns() - self._started_ns
        self._pauses.add(pause_ns)
        if self._on_pause is not None:
            self._on_pause(pause_ns)
