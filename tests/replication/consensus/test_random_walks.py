"""Worlds in which anything may happen, at random."""

import pytest

from replication.consensus.interface.membership import Membership
from tests.replication.consensus.walk import many_walks

THREE = Membership(1, frozenset({1, 2, 3}))
FIVE = Membership(1, frozenset({1, 2, 3, 4, 5}), frozenset({6}))
CHANGING = Membership(2, frozenset({1, 2, 3}), leaving=frozenset({1, 2, 4}))


@pytest.mark.parametrize("membership", [THREE, FIVE, CHANGING])
def test_nothing_committed_is_lost_whatever_happens(membership: Membership) -> None:
    walked = many_walks(membership, range(15))
    assert not walked.violation, "\n".join([walked.violation, *walked.trace])
    assert walked.leaders > 12, "walks saw leaderships"
    assert walked.committed > 15, "and commits"


def test_a_walk_that_once_lost_a_committed_block_does_not() -> None:
    walked = many_walks(THREE, range(5_085, 5_086))
    assert not walked.violation, "\n".join([walked.violation, *walked.trace])


@pytest.mark.slow
@pytest.mark.parametrize("membership", [THREE, FIVE, CHANGING])
def test_nothing_committed_is_lost_in_many_walks(membership: Membership) -> None:
    walked = many_walks(membership, range(1_000, 1_600))
    assert not walked.violation, "\n".join([walked.violation, *walked.trace])
