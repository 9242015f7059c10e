"""Process: what happens in one run of a node: now, after a pause, or never."""

from collections.abc import Callable
from random import Random

from replication.log.errors import LogCorrupted, LogFailed
from simulation.world.disk import PowerCut


class Process:
    """One run of a machine's process."""

    def __init__(
        self,
        is_paused: Callable[[], bool],
        power_cut: Callable[[], None],
        fail: Callable[[], None],
        damaged: Callable[[LogCorrupted], None],
        rng: Random,
    ) -> None:
        """Call ``power_cut`` where the power fails in the middle of something, ``fail`` where the disk does.

        ``damaged`` is called where the process needs a block that its log cannot read: it cannot go on.
        """
        self._is_paused, self._power_cut, self._fail, self._damaged = is_paused, power_cut, fail, damaged
        self._rng = rng
        self._deferred: list[Callable[[], None]] = []
        self.alive = True

    def do(self, action: Callable[[], None]) -> None:
        """Do something that an event outside of the process brings about."""
        if not self.alive:
            return
        if self._is_paused():
            self._deferred.append(action)
            return
        try:
            action()
        except PowerCut:
            self._power_cut()
        except LogFailed:
            self._fail()
        except LogCorrupted as error:
            self._damaged(error)

    def resume(self) -> None:
        """Do what a pause put off, in any order: all of it is ready at once."""
        deferred, self._deferred = self._deferred, []
        self._rng.shuffle(deferred)
        for action in deferred:
            self.do(action)
