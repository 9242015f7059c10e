"""A pool lends each object to one borrower at a time, in the order asked for, and calls the factory's hooks."""

import dataclasses
import gc
import math
import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pooling.core import eviction
from pooling.core.errors import ObjectInvalid, PoolClosed, PoolExhausted
from pooling.core.factory import CallableFactory, Factory
from pooling.core.object_pool import ObjectPool
from pooling.core.pool_options import PoolOptions
from tests.eventually import eventually
from tests.fakes import ManualClock
from tests.pooling.core.fake_connections import Connection, ConnectionFactory


def pool_of(
    factory: ConnectionFactory | None = None, clock: ManualClock | None = None, **options: object
) -> ObjectPool[Connection]:
    """Make a pool by whose clock a thread that waits has waited in vain at once."""
    chosen = dataclasses.replace(PoolOptions(), **options)  # type: ignore[arg-type]
    return ObjectPool("connections", factory or ConnectionFactory(), chosen, clock or ManualClock())


def test_an_object_is_made_when_first_needed_and_then_used_again() -> None:
    pool = pool_of()
    for _ in range(3):
        with pool.lend() as connection:
            connection.uses += 1
    assert connection.uses == 3
    metrics = pool.get_metrics()
    assert (metrics.made, metrics.borrows, metrics.misses, metrics.recycled) == (1, 3, 1, 2)


def test_two_borrowers_never_have_the_same_object() -> None:
    pool = pool_of()
    assert pool.borrow_object() is not pool.borrow_object()
    assert pool.in_use == 2


@pytest.mark.parametrize(("order", "numbers"), [("lifo", [2, 1, 0]), ("fifo", [0, 1, 2])])
def test_the_last_or_the_first_returned_is_lent_next(order: str, numbers: list[int]) -> None:
    pool = pool_of(order=order)
    for connection in [pool.borrow_object() for _ in range(3)]:
        pool.return_object(connection)
    assert [pool.borrow_object().number for _ in range(3)] == numbers


def test_the_hooks_come_in_their_order() -> None:
    factory = ConnectionFactory()
    pool = pool_of(factory, test_on_create=True, test_on_borrow=True, test_on_return=True)
    connection = pool.borrow_object()
    assert factory.hooks() == ["make", "validate", "activate", "validate"]
    pool.return_object(connection)
    assert factory.hooks() == ["validate", "passivate"]
    pool.clear()
    assert factory.hooks() == ["destroy"]


def test_validation_is_not_asked_for_unless_the_options_say_so() -> None:
    factory = ConnectionFactory()
    pool = pool_of(factory)
    pool.return_object(pool.borrow_object())
    assert "validate" not in factory.hooks()


def test_an_idle_object_that_is_no_longer_valid_is_replaced() -> None:
    factory = ConnectionFactory()
    pool = pool_of(factory, test_on_borrow=True)
    with pool.lend() as first:
        pass
    first.valid = False
    assert pool.borrow_object().number == 1
    assert not first.alive
    assert pool.get_metrics().invalid == 1
    assert pool.get_metrics().size == 1


def test_an_object_returned_invalid_is_destroyed() -> None:
    pool = pool_of(test_on_return=True)
    connection = pool.borrow_object()
    connection.valid = False
    pool.return_object(connection)
    assert (pool.idle, connection.alive) == (0, False)


@pytest.mark.parametrize("hook", ["activate", "validate"])
def test_a_new_object_that_is_invalid_is_an_error_and_leaves_room_for_another(hook: str) -> None:
    factory = ConnectionFactory()
    factory.fail.add(hook)
    pool = pool_of(factory, max_total=1, test_on_borrow=True)
    for _ in range(3):
        with pytest.raises(ObjectInvalid):
            pool.borrow_object(0)
    factory.fail.clear()
    assert pool.borrow_object(0).alive
    assert pool.get_metrics().size == 1


def test_what_make_raises_reaches_the_borrower_and_leaves_room_for_another() -> None:
    factory = ConnectionFactory()
    factory.fail.add("make")
    pool = pool_of(factory, max_total=1)
    with pytest.raises(RuntimeError, match="make failed"):
        pool.borrow_object(0)
    factory.fail.clear()
    assert pool.borrow_object(0).alive


@pytest.mark.parametrize("hook", ["passivate", "destroy"])
def test_a_hook_that_fails_on_the_way_back_harms_nobody(hook: str) -> None:
    factory = ConnectionFactory()
    factory.fail.add(hook)
    pool = pool_of(factory, max_total=1)
    pool.return_object(pool.borrow_object())
    pool.clear()
    assert pool.borrow_object(0).alive
    assert pool.get_metrics().size == 1


@pytest.mark.parametrize("hook", ["make", "activate", "validate", "passivate", "destroy"])
def test_an_interrupted_hook_takes_no_room(hook: str) -> None:
    factory = ConnectionFactory()
    pool = pool_of(factory, max_total=3, wait_s=0, test_on_create=True, test_on_borrow=True, test_on_return=True)
    pool.prepare(2)
    factory.interrupt.add(hook)

    def use_and_clear() -> None:
        for connection in [pool.borrow_object() for _ in range(3)]:
            pool.return_object(connection)
        pool.clear()

    with pytest.raises(KeyboardInterrupt):
        use_and_clear()
    if hook == "destroy":
        assert pool.idle == 0, "what was to be destroyed after the interrupt was so, too"
    lent_before = pool.in_use
    for _ in range(3 - lent_before):
        assert pool.borrow_object().alive
    metrics = pool.get_metrics()
    assert metrics.size == metrics.in_use + metrics.idle == metrics.made - metrics.destroyed == 3


@pytest.mark.parametrize("test", ["test_on_create", "test_on_borrow"])
def test_an_interrupted_validation_of_a_new_object_destroys_it(test: str) -> None:
    factory = ConnectionFactory()
    factory.interrupt.add("validate")
    pool = pool_of(factory, max_total=1, wait_s=0, **{test: True})  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        pool.borrow_object()
    assert not factory.connections[0].alive
    assert pool.borrow_object().alive


def test_the_replacement_of_an_invalid_object_takes_no_room_where_its_end_is_interrupted() -> None:
    factory = ConnectionFactory()
    pool = pool_of(factory, max_total=1, wait_s=0, test_on_borrow=True)
    with pool.lend() as invalid:
        invalid.valid = False
    factory.interrupt.add("destroy")
    with pytest.raises(KeyboardInterrupt):
        pool.borrow_object()
    assert pool.borrow_object().alive
    assert pool.get_metrics().size == 1


def test_any_false_answer_of_validate_is_a_no() -> None:
    class Arrays(Factory[NDArray[Any]]):
        def make(self) -> NDArray[Any]:
            return np.zeros(4)

        def validate(self, item: NDArray[Any]) -> bool:
            return (item == 0).all()  # type: ignore[no-any-return] # numpy's bool

    pool = ObjectPool("arrays", Arrays(), PoolOptions(max_total=1, test_on_borrow=True))
    with pool.lend() as dirty:
        dirty[0] = 1
    assert pool.borrow_object(0) is not dirty


def test_an_exhausted_pool_fails_at_once_or_after_the_timeout_and_says_what_to_do() -> None:
    pool = pool_of(max_total=1, wait_s=0)
    with pool.lend():
        for timeout_s in (None, 0, 10):
            with pytest.raises(PoolExhausted, match="enlarge the pool"):
                pool.borrow_object(timeout_s)
    assert pool.get_metrics().exhausted == 3
    assert pool.borrow_object() is not None


def test_idle_objects_beyond_the_maximum_are_destroyed() -> None:
    pool = pool_of(idle_max=1)
    for connection in [pool.borrow_object() for _ in range(3)]:
        pool.return_object(connection)
    assert (pool.idle, pool.get_metrics().destroyed) == (1, 2)


def test_what_comes_back_for_waiters_that_have_gone_is_not_kept_beyond_the_maximum() -> None:
    pool = pool_of(max_total=1, idle_max=0)
    connection = pool.borrow_object()
    with pytest.raises(PoolExhausted):
        pool.borrow_object(10)
    pool.return_object(connection)
    assert (pool.idle, connection.alive) == (0, False)


def test_borrowers_that_got_nothing_take_nothing_from_the_count_of_reuse() -> None:
    pool = pool_of(max_total=1, wait_s=0)
    for _ in range(4):
        with pool.lend():
            pass
    with pool.lend():
        for _ in range(3):
            with pytest.raises(PoolExhausted):
                pool.borrow_object()
    metrics = pool.get_metrics()
    assert (metrics.borrows, metrics.recycled, metrics.misses, metrics.exhausted) == (5, 4, 4, 3)


def test_an_object_that_replaced_an_invalid_one_is_no_reuse() -> None:
    pool = pool_of(max_total=1, test_on_borrow=True)
    with pool.lend() as invalid:
        invalid.valid = False
    with pool.lend():
        pass
    assert (pool.get_metrics().borrows, pool.get_metrics().recycled) == (2, 0)


@pytest.mark.parametrize("closing", [True, False])
def test_what_comes_back_in_the_very_moment_of_shrinking_or_closing_goes(
    closing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool: ObjectPool[list[int]] = ObjectPool("lists", CallableFactory(list), PoolOptions(max_total=3, idle_max=3))
    lent = [pool.borrow_object() for _ in range(3)]
    take_oldest = eviction.take_oldest
    returning: list[threading.Thread] = []

    def take_and_be_overtaken(idle: Any, count: int) -> Any:
        """Return all objects from other threads after the look at the idle ones, and before anything else."""
        taken = take_oldest(idle, count)
        while lent:
            returning.append(threading.Thread(target=pool.return_object, args=(lent.pop(),)))
            returning[-1].start()
            eventually(lambda: pool.in_use == len(lent) and pool.idle == len(returning), "the returned object")
        return taken

    monkeypatch.setattr(eviction, "take_oldest", take_and_be_overtaken)
    if closing:
        pool.close()
    else:
        pool.resize(1)
    for thread in returning:
        thread.join(10)
    assert len(returning) == 3
    assert pool.get_metrics().size == pool.idle == (0 if closing else 1)
    if not closing:
        assert pool.borrow_object(0) == []


def test_clearing_destroys_what_is_idle_and_leaves_what_is_lent() -> None:
    pool = pool_of()
    lent, idle = pool.borrow_object(), pool.borrow_object()
    pool.return_object(idle)
    assert pool.clear() == 1
    assert (lent.alive, idle.alive) == (True, False)
    pool.return_object(lent)
    assert pool.idle == 1


def test_a_closed_pool_lends_nothing_and_destroys_what_comes_back() -> None:
    pool = pool_of()
    lent, idle = pool.borrow_object(), pool.borrow_object()
    pool.return_object(idle)
    pool.close()
    assert not idle.alive
    with pytest.raises(PoolClosed):
        pool.borrow_object()
    pool.return_object(lent)
    assert not lent.alive
    assert pool.get_metrics().size == 0


def test_shrinking_never_touches_what_is_lent() -> None:
    pool = pool_of(max_total=8)
    connections = [pool.borrow_object() for _ in range(6)]
    pool.return_object(connections.pop())
    pool.resize(2)
    assert (pool.in_use, pool.idle) == (5, 0)
    assert all(connection.alive for connection in connections)
    with pytest.raises(PoolExhausted):
        pool.borrow_object(0)
    for connection in connections:
        pool.return_object(connection)
    assert (pool.get_metrics().size, pool.idle) == (2, 2)


def test_a_shrunk_pool_can_grow_again() -> None:
    pool = pool_of(max_total=1)
    pool.borrow_object()
    pool.resize(2)
    assert pool.borrow_object(0).alive


def test_adjusting_the_size_makes_and_destroys_idle_objects_only() -> None:
    pool = pool_of(max_total=8)
    lent = [pool.borrow_object() for _ in range(2)]
    assert pool.adjust_size(6) == 4
    assert pool.adjust_size(3) == -3
    assert pool.adjust_size(0) == -1
    assert all(connection.alive for connection in lent)
    assert pool.adjust_size(100) == 6


def test_preparing_makes_objects_ahead_of_demand() -> None:
    pool = pool_of(max_total=4)
    assert pool.prepare(3) == 3
    assert pool.prepare(100) == 1
    for _ in range(4):
        pool.borrow_object(0)
    assert pool.get_metrics().misses == 0


def test_the_peak_is_the_most_that_was_lent_at_once() -> None:
    clock = ManualClock()
    pool = pool_of(clock=clock, max_total=16)
    kept = pool.borrow_object()
    pool.prepare(15)
    for count in (3, 9, 5):
        for connection in [pool.borrow_object() for _ in range(count)]:
            pool.return_object(connection)
        clock.advance(1)
    now_ns = clock.monotonic_ns()
    assert [pool.peak_since(now_ns - round(ago_s * 1e9)) for ago_s in (3, 2, 1, 0)] == [10, 10, 6, 1]
    pool.return_object(kept)
    assert pool_of(order="fifo").peak_since(0) is None


def test_holding_times_add_up() -> None:
    clock = ManualClock()
    pool = pool_of(clock=clock)
    for seconds in range(10):
        with pool.lend():
            clock.advance(seconds)
        clock.advance(1000)
    assert pool.get_metrics().holding_ns == sum(range(10)) * 1_000_000_000
    pool.clear()
    assert pool.get_metrics().holding_ns == sum(range(10)) * 1_000_000_000
    assert pool.get_metrics().borrows == 10


def test_a_finalizer_may_return_an_object_wherever_the_collector_runs() -> None:
    pool: ObjectPool[list[int]] = ObjectPool("lists", CallableFactory(list), PoolOptions(max_total=2))

    class Holder:
        def __init__(self) -> None:
            self.item = pool.borrow_object(0)
            self.self = self

        def __del__(self) -> None:
            pool.return_object(self.item)

    before = gc.get_threshold()
    gc.freeze()  # or each of the many collections would look at all that the tests have imported
    gc.set_threshold(1)
    try:
        for _ in range(100):
            Holder()
            gc.collect()
            pool.get_metrics()
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
    gc.collect()
    assert pool.in_use == 0


@pytest.mark.parametrize(
    "options",
    [
        {"max_total": 0},
        {"idle_min": -1},
        {"max_total": 2, "idle_min": 3},
        {"idle_max": 1, "idle_min": 2},
        {"idle_max": -1},
        {"tests_per_run": 0},
        {"wait_s": -1.0},
        {"wait_s": math.nan},
        {"evict_idle_s": math.nan},
        {"leak_after_s": math.nan},
        {"order": "random"},
        {"evict_idle_s": 0.0},
        {"leak_after_s": 0.0},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"at least|more than|either"):
        pool_of(**options)
