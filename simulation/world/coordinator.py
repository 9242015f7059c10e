"""The coordinator: an epoch and a membership behind compare-and-swap, with outages, lost answers and restored backups.

It decides who tries to lead next. No promise may depend on it, so a backup that is restored takes epochs back that were
given out, and memberships that were replaced.
"""

from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple

from replication.consensus.interface.membership import Membership
from simulation.world.timeline import MS, Timeline

_WAY_NS: Final = (MS // 5, 3 * MS)
"""How long a request or an answer is on its way."""
_LOST_ANSWERS: Final = 0.02


class Content(NamedTuple):
    """What it holds."""

    epoch: int
    """The highest that it knows to be given out."""
    node: int
    """Who may try in it; 0 where there was none yet."""
    membership: Membership


class VirtualCoordinator:
    """One coordinator for a whole cluster. Requests and answers travel; during an outage neither arrives."""

    def __init__(
        self, timeline: Timeline, rng: Random, membership: Membership, watch: Callable[[Content], None]
    ) -> None:
        """Begin with epoch 0; whatever changes is told to ``watch`` a little later."""
        self._timeline, self._rng, self._watch = timeline, rng, watch
        self._history = [Content(0, 0, membership)]
        self.outages = 0
        """Faults that keep it down; it is up where there is none."""

    @property
    def content(self) -> Content:
        """What it holds now."""
        return self._history[-1]

    def cas_epoch(self, expected: int, new: int, node: int, answer: Callable[[Content], None]) -> None:
        """Ask for epoch ``new`` where the current one is ``expected``; what it is then is told later, or never."""

        def arrive() -> None:
            if self.outages:
                return
            if self.content.epoch == expected and new > expected:
                self._put(self.content._replace(epoch=new, node=node))
            if self._rng.random() >= _LOST_ANSWERS:
                self._tell(answer)

        self._timeline.after(self._way_ns(), arrive)

    def cas_membership(self, expected: Membership, new: Membership) -> bool:
        """Set the membership where it is ``expected``, at once; an operator's doing."""
        if self.outages or self.content.membership != expected:
            return False
        self._put(self.content._replace(membership=new))
        return True

    def restore(self) -> bool:
        """Go back to a backup, of any age; False where there is nothing to lose yet."""
        if len(self._history) == 1:
            return False
        del self._history[self._rng.randrange(1, len(self._history)) :]
        self._tell(self._watch)
        return True

    def recover(self) -> None:
        """End an outage; who watches hears what is there."""
        self.outages = max(0, self.outages - 1)
        if not self.outages:
            self._tell(self._watch)

    def _put(self, content: Content) -> None:
        self._history.append(content)
        self._tell(self._watch)

    def _tell(self, listener: Callable[[Content], None]) -> None:
        def arrive() -> None:
            if not self.outages:
                listener(self.content)

        self._timeline.after(self._way_ns(), arrive)

    def _way_ns(self) -> int:
        return self._rng.randint(*_WAY_NS)
