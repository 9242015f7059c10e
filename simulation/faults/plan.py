"""Plan: which faults befall a schedule, and when. A value, so that one that shows a fault can be made smaller."""

from collections.abc import Sequence
from random import Random
from typing import Final, NamedTuple

from simulation.fault_kind import FaultKind
from simulation.world.timeline import MS

LEADER: Final = 0
"""Instead of a node: whoever leads at that moment."""
_FIRST_NS: Final = 100 * MS
_SPAN_NS: Final = 1_400 * MS
_DURATION_NS: Final = (10 * MS, 500 * MS)
_COUNT: Final = (6, 12)
_SWARMS: Final = 0.7
_KINDS: Final = (2, 6)


class Fault(NamedTuple):
    """One fault."""

    at_ns: int
    kind: FaultKind
    node: int
    """Whom it befalls, or `LEADER`."""
    peer: int
    """The other node, where there is one."""
    duration_ns: int
    amount: int
    """How much of it, 0 to 999; what that means depends on the kind."""


def plan_faults(rng: Random, nodes: int, kinds: Sequence[FaultKind] = tuple(FaultKind)) -> tuple[Fault, ...]:
    """Choose faults: of all kinds, or, mostly, of a few that then meet each other.

    Source: Groce et al., "Swarm Testing" (ISSTA 2012).
    """
    if rng.random() < _SWARMS:
        kinds = rng.sample(kinds, min(len(kinds), rng.randint(*_KINDS)))
    faults = [
        Fault(
            _FIRST_NS + rng.randrange(_SPAN_NS),
            rng.choice(kinds),
            LEADER if rng.random() < 0.4 else rng.randint(1, nodes),
            rng.randint(1, nodes),
            rng.randint(*_DURATION_NS),
            rng.randrange(1000),
        )
        for _ in range(rng.randint(*_COUNT))
    ]
    return tuple(sorted(faults))
