"""Promise: what a node has bound itself to, kept in one atomic, synced record beside its log.

A reply that rests on a promise leaves only once the record is stored. The record also says which disk the node has:
one that lost its disk forgot its promises and its acknowledgements, and must not vote as if there had been none.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from replication.consensus.interface.membership import Membership
from replication.log.ballot import Ballot


class Incarnation(NamedTuple):
    """One life of a node's disk. What was said before the disk was lost is told by it from what was said since.

    Without it, an answer that was under way when the disk was lost would be counted besides those of the new one
    (Michael et al., "Recovering Shared Objects Without Stable Storage", DISC 2017).
    """

    number: int
    """0 for the disk that the cluster began with; higher than all known ones after each start without a vote."""
    log_id: int
    """Random identity of the log on the disk."""


UNKNOWN: Final = Incarnation(0, 0)
"""Lower than every incarnation."""


@dataclass(frozen=True, slots=True)
class Promise:
    """The stored record, whole; a new one replaces the last at once."""

    ballot: Ballot
    """Appends, seals and recovery reads of lower ballots are refused."""
    membership: Membership
    """The newest membership known. It goes before whatever a coordinator says."""
    incarnation: Incarnation
    """This node's own."""
    incarnations: tuple[tuple[int, Incarnation], ...] = ()
    """Of other nodes, by node, ascending: the highest heard of. Votes of lower ones do not count."""
    voting: bool = True
    """False while the node may have forgotten what it promised or acknowledged."""
    commit_index: int = 0
    """All blocks up to it are committed. Stored lazily, and never above what is durable here."""

    def incarnation_of(self, node: int) -> Incarnation:
        """Return the highest incarnation of another node that this one heard of."""
        for other, incarnation in self.incarnations:
            if other == node:
                return incarnation
        return UNKNOWN
