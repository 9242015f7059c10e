"""Ballot: a leadership's number, which orders all leaderships there can be."""

from typing import Final, NamedTuple


class Ballot(NamedTuple):
    """The right to lead: an epoch, and the node that leads in it. Compared by epoch, then by node.

    Two nodes may come to the same epoch, whatever gives epochs out; they never come to the same ballot.
    """

    epoch: int
    """From 1; 0 where there is no ballot."""
    node: int
    """Number of the node that leads, from 1; 0 where a log of one node does not name its node."""


NO_BALLOT: Final = Ballot(0, 0)
"""Lower than every ballot."""
