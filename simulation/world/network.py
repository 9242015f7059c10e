"""The network between the nodes: messages that are late, lost, doubled, overtaken, or stopped in one direction.

A link carries its messages in order, as a stream does, unless a fault lets them overtake each other. What is on its way
when a node dies still arrives: at the node that was started in its place.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from simulation.fault_kind import FaultKind
from simulation.world.timeline import MS, Timeline

_LATENCY_NS_MIN: Final = MS // 20
_LATENCY_NS: Final = MS // 2


@dataclass(slots=True)
class Link:
    """One direction between two nodes."""

    cuts: int = 0
    """Faults that stop it; it carries where there is none."""
    drop: float = 0.0
    """Share of messages that get lost."""
    duplicate: float = 0.0
    """Share of messages that arrive twice."""
    overtaking: bool = False
    """Whether messages arrive in any order."""
    delay_ns: int = 0
    """Added to each message's way, at most."""
    last_arrival_ns: int = 0


@dataclass(slots=True)
class Network:
    """Links between all who have a number.

    ``deliver(source, target, message)`` is called when a message arrives.
    """

    timeline: Timeline
    rng: Random
    deliver: Callable[[int, int, object], None]
    occurred: Counter[FaultKind]
    links: dict[tuple[int, int], Link] = field(default_factory=dict)

    def link(self, source: int, target: int) -> Link:
        """Return one direction between two."""
        found = self.links.get((source, target))
        if found is None:
            found = self.links[source, target] = Link()
        return found

    def send(self, source: int, target: int, message: object) -> None:
        """Put a message on its way."""
        link, rng = self.link(source, target), self.rng
        if link.cuts:
            return
        if link.drop and rng.random() < link.drop:
            self.occurred[FaultKind.DROP] += 1
            return
        self._carry(link, source, target, message)
        if link.duplicate and rng.random() < link.duplicate:
            self.occurred[FaultKind.DUPLICATE] += 1
            self._carry(link, source, target, message)

    def heal(self) -> None:
        """Take all faults off all links."""
        for link in self.links.values():
            link.cuts, link.drop, link.duplicate, link.overtaking, link.delay_ns = 0, 0.0, 0.0, False, 0

    def _carry(self, link: Link, source: int, target: int, message: object) -> None:
        now_ns = self.timeline.now_ns
        arrival_ns = now_ns + _LATENCY_NS_MIN + int(self.rng.random() * _LATENCY_NS)
        if link.delay_ns:
            self.occurred[FaultKind.DELAY] += 1
            arrival_ns += self.rng.randint(0, link.delay_ns)
        if arrival_ns < link.last_arrival_ns:
            if link.overtaking:
                self.occurred[FaultKind.REORDER] += 1
            else:
                arrival_ns = link.last_arrival_ns
        link.last_arrival_ns = max(link.last_arrival_ns, arrival_ns)
        self.timeline.after(arrival_ns - now_ns, lambda: self._arrive(link, source, target, message))

    def _arrive(self, link: Link, source: int, target: int, message: object) -> None:
        if not link.cuts:
            self.deliver(source, target, message)
