"""A scheduler of Python's garbage collector: it collects when nothing is under way, or by a small budget.

CPython frees most objects by reference counts alone; the collector looks for cycles, and stops all Python code
meanwhile, for as long as it takes to visit every container of a generation. By default it runs when enough was
allocated, which under load is when it hurts most, and its full collections visit everything that was ever imported.
So this scheduler

- *freezes* what lives as long as the process: collections do not visit it any more;
- asks for collections instead of having them triggered: full ones while nothing is under way, young ones under load
  once a budget of new objects is used up, which bounds how many one collection visits; what survives those adds up to
  a budget of its own, after which a full one is due;
- leaves the automatic trigger as a backstop, far out, for a process whose ticks do not come.

A forked child has Python's own triggers again, as nobody ticks there, and reports no pauses: whatever they are reported
to may have been locked by a thread that the child does not have. What was frozen stays so: to visit it would copy its
pages.
"""

import gc
from collections.abc import Callable
from typing import Any, Final

from penstock.host.clock import SYSTEM_CLOCK, Clock
from pooling.gc.gc_pauses import GcPauses, PauseStatistics
from txqueue.region import fork

_YOUNG_BUDGET: Final = 5_000
"""New containers that a collection under load visits: a fraction of a millisecond."""
_SURVIVOR_BUDGET: Final = 20_000
"""Survivors that a full collection under load visits: about a millisecond."""
_BACKSTOP: Final = 200_000
"""Net allocations of containers after which Python collects by itself."""
_QUIET_TICKS: Final = 3
"""Quiet ticks before a full collection; fewer may be a gap between two frames."""
_BUSY_TICKS_MAX: Final = 1200
"""Ticks under load before a full collection, which finds what died after it had survived a young one: a minute's."""
_FULL: Final = 2


class GcScheduler:
    """Decides when to collect, and measures each pause. A process has one collector, so it has one of these.

    Call `start` once what lives long was made, then `tick` some twenty times a second from one thread, then `stop`.
    """

    def __init__(self, on_pause: Callable[[int], None] | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        """Report each pause, in nanoseconds, to ``on_pause``, which must be quick and make no cycles itself."""
        self._now_ns: Final = clock.monotonic_ns
        self._on_pause = on_pause
        self._pauses = GcPauses()
        self._started_ns = 0
        self._survivors = 0
        self._quiet_ticks = 0
        self._busy_ticks = 0  # since the last full collection
        self._takes_over = False
        self._settings_before: tuple[int, int, int] | None = None
        self._generation = fork.generation()
        fork.disown_in_children(self)

    def start(self, *, take_over: bool = True) -> None:
        """Begin to measure pauses; with ``take_over``, also collect once, freeze what is left, and schedule."""
        assert self._settings_before is None, "a scheduler is started once"
        self._settings_before = gc.get_threshold()
        self._takes_over = take_over
        if take_over:
            gc.collect()
            gc.freeze()
            gc.set_threshold(_BACKSTOP, *self._settings_before[1:])
        gc.callbacks.append(self._observe)

    def stop(self) -> None:
        """Restore Python's own triggers and stop measuring. Does nothing where it was not started."""
        if self._settings_before is None:
            return
        self.disown()
        if self._takes_over:
            gc.unfreeze()

    def disown(self) -> None:
        """Stop in a forked child."""
        if self._settings_before is None:
            return
        gc.callbacks.remove(self._observe)
        if self._takes_over:
            gc.set_threshold(*self._settings_before)
        self._settings_before = None

    def tick(self, *, busy: bool) -> None:
        """Collect if it is due. ``busy``: something was under way since the last tick."""
        assert self._settings_before is not None, "start comes first"
        if not self._takes_over:
            return
        self._quiet_ticks = 0 if busy else self._quiet_ticks + 1
        self._busy_ticks += busy
        young = gc.get_count()[0]
        if (
            self._quiet_ticks == _QUIET_TICKS
            or self._survivors >= _SURVIVOR_BUDGET
            or self._busy_ticks >= _BUSY_TICKS_MAX
        ):
            gc.collect(_FULL)
            self._survivors = self._busy_ticks = 0
        elif young >= _YOUNG_BUDGET:
            self._survivors += young - gc.collect(1)

    def get_metrics(self) -> PauseStatistics:
        """Give the statistics of the pauses since `start`."""
        return self._pauses.read()

    def _observe(self, phase: str, _: dict[str, Any]) -> None:
        """Time a collection; ``gc`` calls this at its start and its stop, never nested."""
        if fork.generation() != self._generation:
            return
        if phase == "start":
            self._started_ns = self._now_ns()
            return
        pause_ns = self._now_ns() - self._started_ns
        self._pauses.add(pause_ns)
        if self._on_pause is not None:
            self._on_pause(pause_ns)
