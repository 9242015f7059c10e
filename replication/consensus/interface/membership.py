"""Membership: which nodes hold the log, and which of them decide.

Whatever counts nodes asks `Membership.is_quorum` or `Membership.quorum_index`; nothing else knows what a quorum is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Membership:
    """The nodes of a cluster.

    While voters change, decisions need a majority of the voters after the change and one of those before it ("joint
    consensus", Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", section 6).
    """

    generation: int
    """Counts changes, from 1. Every message carries it, and messages of an older one are refused."""
    voters: frozenset[int]
    """Nodes whose logs decide what is committed."""
    learners: frozenset[int] = frozenset()
    """Nodes that get every block and decide nothing."""
    leaving: frozenset[int] = frozenset()
    """The voters before a change that is under way; empty where there is none."""
    electors: frozenset[int] = field(init=False, compare=False, repr=False)
    """All nodes that any decision asks: the voters, during a change those before it, too."""
    nodes: frozenset[int] = field(init=False, compare=False, repr=False)
    """All nodes that get the log."""

    def __post_init__(self) -> None:
        assert self.generation >= 1
        assert self.voters, "a log without voters can commit nothing"
        assert not self.learners & (self.voters | self.leaving)
        object.__setattr__(self, "electors", self.voters | self.leaving)
        object.__setattr__(self, "nodes", self.electors | self.learners)

    def is_quorum(self, nodes: Iterable[int]) -> bool:
        """Tell whether ``nodes`` may decide. Any two sets that may have a voter in common."""
        present = frozenset(nodes)
        return all(2 * len(present & voters) > len(voters) for voters in self._voter_sets())

    def quorum_index(self, durable: Mapping[int, int]) -> int:
        """Return the highest index that a quorum has reached; who is not in ``durable`` has reached 0."""
        index = _majority_index(self.voters, durable)
        return min(index, _majority_index(self.leaving, durable)) if self.leaving else index

    def shares_quorums_with(self, other: "Membership") -> bool:
        """Tell whether every quorum of this membership surely has a voter in common with every one of ``other``'s.

        Sets of voters that differ by one node at most have that property, and one set in common is enough.
        """
        return any(len(mine ^ theirs) <= 1 for mine in self._voter_sets() for theirs in other._voter_sets())

    def _voter_sets(self) -> tuple[frozenset[int], ...]:
        return (self.voters, self.leaving) if self.leaving else (self.voters,)


def _majority_index(voters: frozenset[int], durable: Mapping[int, int]) -> int:
    reached = [durable.get(node, 0) for node in voters]
    reached.sort()
    return reached[(len(voters) - 1) // 2]
