"""Whoever pops a loan has the object: a leak that is returned, or lent anew, in the same moment is no leak."""

import pytest

from pooling.core.errors import NotBorrowed
from pooling.core.factory import CallableFactory
from pooling.core.leak_detection import take_leaked
from pooling.core.object_pool import ObjectPool
from pooling.core.pool_options import PoolOptions
from pooling.core.pooled_object import PooledObject
from tests.fakes import ManualClock


class Overtaken(dict[int, PooledObject[str]]):
    """Loans that change between the look at one and its pop, as another thread might change them."""

    def __init__(self, before: PooledObject[str], after: PooledObject[str] | None) -> None:
        super().__init__({1: before})
        self.after = after

    def get(self, key: int, default: object = None) -> PooledObject[str] | None:  # type: ignore[override]
        seen = self[key]
        del self[key]
        if self.after is not None:
            self[key] = self.after
        return seen


def test_an_object_returned_after_the_look_is_not_reclaimed() -> None:
    loans = Overtaken(PooledObject("old", now_ns=1), None)
    assert take_leaked(loans, borrowed_before_ns=5) == []
    assert not loans


def test_an_object_lent_anew_after_the_look_stays_on_loan() -> None:
    lent_anew = PooledObject("new", now_ns=9)
    loans = Overtaken(PooledObject("old", now_ns=1), lent_anew)
    assert take_leaked(loans, borrowed_before_ns=5) == []
    assert list(loans.values()) == [lent_anew]


def test_an_object_without_weak_references_is_reclaimed_and_its_late_return_refused() -> None:
    clock = ManualClock()
    options = PoolOptions(max_total=1, leak_after_s=60)
    pool: ObjectPool[list[int]] = ObjectPool("lists", CallableFactory(list), options, clock)
    late = pool.borrow_object()
    clock.advance(61)
    pool.maintain()
    assert pool.get_metrics().leaked == 1
    with pytest.raises(NotBorrowed, match="the pool has destroyed it"):
        pool.return_object(late)
