"""A block's buffer goes back to its pool with the last of its holders: once, and not before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.pipeline import sealed_block as sealed_block_module
from services.telemetry.counters import Counters
from tests.services.pipeline.harness.fakes import BlockMaker, FakePool
from tests.services.pipeline.harness.interleaving import interleave, preemptions, turn_lock


@given(st.lists(st.booleans(), max_size=40))
def test_the_buffer_is_lent_exactly_as_long_as_somebody_holds_the_block(retains: list[bool]) -> None:
    pool = FakePool(1)
    sealed = BlockMaker(pool, Counters()).next()
    holders = 1
    for retain in retains:
        if retain:
            assert sealed.retain() is sealed
            holders += 1
        else:
            sealed.release()
            holders -= 1
        assert pool.lent == (holders > 0)
        if not holders:
            break
    for _ in range(holders):
        sealed.release()
    assert pool.lent == 0
    with pytest.raises(AssertionError, match="more often"):
        sealed.release()
    with pytest.raises(AssertionError, match="another block's"):
        sealed.retain()


def test_two_that_release_at_the_same_time_return_the_buffer_once() -> None:
    for schedule in preemptions(lines=6):
        pool = FakePool(1)
        sealed = BlockMaker(pool, Counters()).next().retain()
        sealed._lock = turn_lock()
        interleave(sealed_block_module.__file__, schedule, sealed.release, sealed.release)
        assert pool.lent == 0, schedule
