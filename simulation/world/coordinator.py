"""The coordinator: an epoch and a membership behind compare-and-swap, with outages, lost answers and restored backups.

It decides who tries to lead next. No promise may depend on it, so a backup that is restored takes epochs back that were
given out, and memberships that were replaced.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, Generic, NamedTuple, TypeVar

from simulation.world.timeline import MS, Timeline

Membership = TypeVar("Membership")

_WAY_NS: Final = (MS // 5, 3 * MS)
"""How long a request or an answer is on its way."""
_LOST_ANSWERS: Final = 0.02


class EpochAnswer(NamedTuple):
    """What a compare-and-swap of the epoch came to."""

    granted: bool
    epoch: int
    """The epoch after it."""


@dataclass(frozen=True, slots=True)
class _Content(Generic[Membership]):
    epoch: int
    membership: Membership


class VirtualCoordinator(Generic[Membership]):
    """One coordinator for a whole cluster. Requests and answers travel; during an outage neither arrives."""

    def __init__(self, timeline: Timeline, rng: Random, membership: Membership) -> None:
        self._timeline, self._rng = timeline, rng
        self._history = [_Content(0, membership)]
        self.outages = 0
        """Faults that keep it down; it is up where there is none."""

    @property
    def epoch(self) -> int:
        """The highest epoch that it knows to be given out."""
        return self._history[-1].epoch

    @property
    def membership(self) -> Membership:
        """The membership that it knows."""
        return self._history[-1].membership

    def cas_epoch(self, expected: int, new: int, answer: Callable[[EpochAnswer], None]) -> None:
        """Ask to set the epoch to ``new`` where it is ``expected``; the answer comes later, or never."""

        def arrive() -> None:
            if self.outages:
                return
            granted = self.epoch == expected and new > expected
            if granted:
                self._history.append(_Content(new, self.membership))
            result = EpochAnswer(granted, self.epoch)
            if self._rng.random() >= _LOST_ANSWERS:
                self._timeline.after(self._way_ns(), lambda: self._give(result, answer))

        self._timeline.after(self._way_ns(), arrive)

    def _give(self, result: EpochAnswer, answer: Callable[[EpochAnswer], None]) -> None:
        if not self.outages:
            answer(result)

    def cas_membership(self, expected: Membership, new: Membership) -> bool:
        """Set the membership where it is ``expected``, at once; an operator's doing."""
        if self.outages or self.membership != expected:
            return False
        self._history.append(_Content(self.epoch, new))
        return True

    def restore(self) -> bool:
        """Go back to a backup, of any age; False where there is nothing to lose yet."""
        if len(self._history) == 1:
            return False
        del self._history[self._rng.randrange(1, len(self._history)) :]
        return True

    def _way_ns(self) -> int:
        return self._rng.randint(*_WAY_NS)
