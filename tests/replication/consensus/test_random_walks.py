"""Worlds in which anything may happen, at random."""

import pytest

from replication.consensus.interface.membership import Membership
from tests.replication.consensus.walk import walk
from tests.replication.consensus.world import Budget, World

THREE = Membership(1, frozenset({1, 2, 3}))
FIVE = Membership(1, frozenset({1, 2, 3, 4, 5}), frozenset({6}))
MANY_FAULTS = Budget(elections=4, blocks=6, crashes=4, heartbeats=20, reads=4)
LOST_DISK = Budget(elections=4, blocks=6, crashes=2, wipes=1, heartbeats=20, reads=4)


@pytest.mark.parametrize("budget", [MANY_FAULTS, LOST_DISK])
@pytest.mark.parametrize("membership", [THREE, FIVE])
def test_nothing_committed_is_lost_whatever_happens(membership: Membership, budget: Budget) -> None:
    committed = leaders = 0
    for seed in range(40):
        walked = walk(World(membership), budget, seed, 300)
        assert not walked.violation, "\n".join([walked.violation, *walked.trace])
        committed += len(walked.state.committed)
        leaders += len(walked.state.led)
    assert leaders > 30, "walks saw leaderships"
    assert committed > 20, "and commits"


@pytest.mark.slow
@pytest.mark.parametrize("budget", [MANY_FAULTS, LOST_DISK])
@pytest.mark.parametrize("membership", [THREE, FIVE])
def test_nothing_committed_is_lost_in_many_walks(membership: Membership, budget: Budget) -> None:
    for seed in range(1_000, 4_000):
        walked = walk(World(membership), budget, seed, 400)
        assert not walked.violation, "\n".join([f"seed {seed}", walked.violation, *walked.trace])
