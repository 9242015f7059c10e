"""Worlds in which anything may happen, at random."""

import random

import pytest

from replication.consensus.interface.membership import Membership
from tests.replication.consensus.world import Budget, actions, begin, step

THREE = Membership(1, frozenset({1, 2, 3}))


def walk(seed: int, budget: Budget, steps: int) -> int:
    """Do things at random; return how many."""
    chance = random.Random(seed)
    state = begin(THREE, budget)
    for count in range(steps):
        possible = sorted(actions(state), key=repr)
        if not possible:
            return count
        state = step(state, chance.choice(possible))
    return steps


@pytest.mark.parametrize("seed", range(10))
def test_nothing_committed_is_lost_whatever_happens(seed: int) -> None:
    assert walk(seed, Budget(elections=4, blocks=6, crashes=3, heartbeats=20, reads=4), 400) > 100
