"""Maintenance evicts, tests and prepares idle objects, and reclaims leaked ones."""

import gc
import logging
import threading
import time
from typing import Literal

import pytest

from pooling.core.errors import NotBorrowed, UsedAfterReturn
from pooling.core.factory import CallableFactory
from pooling.core.object_pool import ObjectPool
from pooling.core.pool_options import PoolOptions
from tests.fakes import ManualClock
from tests.pooling.core.fake_connections import Connection, ConnectionFactory

LIMIT_S = 60.0


def test_objects_idle_for_too_long_are_evicted_down_to_the_minimum() -> None:
    clock = ManualClock()
    options = PoolOptions(max_total=6, evict_idle_s=LIMIT_S, idle_min=2)
    pool = ObjectPool("connections", ConnectionFactory(), options, clock)
    for connection in [pool.borrow_object() for _ in range(5)]:
        pool.return_object(connection)
    clock.advance(LIMIT_S)
    pool.maintain()
    assert pool.idle == 5
    clock.advance(0.001)
    with pool.lend() as recent:
        pass
    pool.maintain()
    assert pool.idle == 2
    assert recent.alive
    assert pool.get_metrics().evicted == 3


def test_maintenance_makes_the_minimum_ready() -> None:
    pool = ObjectPool("connections", ConnectionFactory(), PoolOptions(max_total=4, idle_min=3))
    pool.borrow_object()
    pool.maintain()
    assert (pool.idle, pool.in_use) == (3, 1)
    pool.borrow_object()
    pool.maintain()
    assert (pool.idle, pool.in_use) == (2, 2), "the maximum goes before the minimum"


def test_invalid_objects_are_found_while_they_are_idle_all_in_turn() -> None:
    factory = ConnectionFactory()
    pool = ObjectPool("connections", factory, PoolOptions(max_total=6, test_while_idle=True, tests_per_run=2))
    pool.prepare(6)
    factory.connections[1].valid = factory.connections[4].valid = False
    for _ in range(3):
        pool.maintain()
    assert [connection.number for connection in factory.connections if not connection.alive] == [1, 4]
    assert pool.get_metrics().invalid == 2


@pytest.mark.parametrize("order", ["lifo", "fifo"])
@pytest.mark.parametrize("tests_per_run", [1, 2, 3])
def test_testing_keeps_the_order(order: Literal["lifo", "fifo"], tests_per_run: int) -> None:
    options = PoolOptions(max_total=3, order=order, test_while_idle=True, tests_per_run=tests_per_run)
    pool = ObjectPool("connections", ConnectionFactory(), options)
    for connection in [pool.borrow_object() for _ in range(3)]:
        pool.return_object(connection)
    for _ in range(4):
        pool.maintain()
    expected = [2, 1, 0] if order == "lifo" else [0, 1, 2]
    assert [pool.borrow_object(0).number for _ in range(3)] == expected


def test_one_object_at_a_time_is_kept_from_borrowers_by_its_test() -> None:
    class Watching(ConnectionFactory):
        def validate(self, item: Connection) -> bool:
            idle.append(pool.idle)
            return super().validate(item)

    idle: list[int] = []
    pool = ObjectPool("connections", Watching(), PoolOptions(max_total=3, test_while_idle=True, tests_per_run=3))
    pool.prepare(3)
    pool.maintain()
    assert idle == [2, 2, 2]


def test_an_interrupted_test_leaves_room_for_another_object() -> None:
    factory = ConnectionFactory()
    pool = ObjectPool("connections", factory, PoolOptions(max_total=3, test_while_idle=True))
    pool.prepare(3)
    factory.interrupt.add("validate")
    with pytest.raises(KeyboardInterrupt):
        pool.maintain()
    metrics = pool.get_metrics()
    assert metrics.size == metrics.idle == metrics.made - metrics.destroyed == 2


@pytest.mark.parametrize(
    "options",
    [
        PoolOptions(max_total=400, evict_idle_s=60),
        PoolOptions(max_total=400, test_while_idle=True),
        PoolOptions(max_total=400, leak_after_s=60),
    ],
)
def test_finalizers_may_return_objects_while_maintenance_looks_through_them(options: PoolOptions) -> None:
    pool: ObjectPool[list[int]] = ObjectPool("lists", CallableFactory(list), options)

    class Holder:
        def __init__(self) -> None:
            self.item = pool.borrow_object(0)
            self.self = self

        def __del__(self) -> None:
            pool.return_object(self.item)

    kept = [pool.borrow_object() for _ in range(150)]
    pool.prepare(150)
    thresholds = gc.get_threshold()
    gc.freeze()
    try:
        for until_collected in range(200):
            gc.set_threshold(0)
            Holder()
            gc.set_threshold(1 + until_collected % 40)
            pool.maintain()
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
    gc.collect()
    assert pool.in_use == len(kept)


def test_a_leaked_object_is_reported_with_its_borrower_and_replaced(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ManualClock()
    options = PoolOptions(max_total=1, leak_after_s=LIMIT_S, trace=True)
    pool: ObjectPool[Connection] = ObjectPool("connections", ConnectionFactory(), options, clock)

    def forgetful_borrower() -> None:
        forgotten.append(pool.borrow_object())

    forgotten: list[Connection] = []
    thread = threading.Thread(target=forgetful_borrower, name="forgetful")
    thread.start()
    thread.join()
    clock.advance(LIMIT_S)
    pool.maintain()
    assert pool.in_use == 1
    clock.advance(0.001)
    with caplog.at_level(logging.WARNING):
        pool.maintain()
    assert "not returned for 60.0 s" in caplog.text
    assert "thread 'forgetful'" in caplog.text
    assert "(forgetful_borrower)" in caplog.text
    assert not forgotten[0].alive
    assert pool.get_metrics().leaked == 1
    assert pool.borrow_object(0) is not forgotten[0]
    with pytest.raises(NotBorrowed, match=r"reclaimed as leaked.*forgetful_borrower"):
        pool.return_object(forgotten[0])


def test_whoever_returns_an_object_while_it_is_reported_as_leaked_learns_of_it() -> None:
    class ReturnLate(logging.Handler):
        def emit(self, _: logging.LogRecord) -> None:
            try:
                pool.return_object(late)
            except NotBorrowed as error:
                told.append(str(error))

    clock = ManualClock()
    pool = ObjectPool("connections", ConnectionFactory(), PoolOptions(max_total=1, leak_after_s=LIMIT_S), clock)
    late = pool.borrow_object()
    told: list[str] = []
    log, returning = logging.getLogger("penstock.pooling"), ReturnLate()
    clock.advance(2 * LIMIT_S)
    log.addHandler(returning)
    try:
        pool.maintain()
    finally:
        log.removeHandler(returning)
    assert ["reclaimed as leaked" in error for error in told] == [True]


def test_a_checked_proxy_tells_a_leak_from_a_return() -> None:
    clock = ManualClock()
    options = PoolOptions(max_total=1, leak_after_s=LIMIT_S, trace=True, checked_proxy=True)
    pool = ObjectPool("connections", ConnectionFactory(), options, clock)
    with pool.lend() as returned:
        pass
    kept = pool.borrow_object()
    clock.advance(2 * LIMIT_S)
    pool.maintain()
    with pytest.raises(UsedAfterReturn, match=r"reclaimed as leaked.*borrowed by thread.*test_a_checked_proxy_tells"):
        _ = kept.number
    with pytest.raises(UsedAfterReturn, match=r"after its return; last returned by thread"):
        _ = returned.number


def test_a_borrower_that_would_have_to_wait_finds_leaked_objects_itself() -> None:
    clock = ManualClock()
    pool = ObjectPool("connections", ConnectionFactory(), PoolOptions(max_total=1, leak_after_s=LIMIT_S), clock)
    pool.borrow_object()
    clock.advance(2 * LIMIT_S)
    assert pool.borrow_object(0).alive


def test_what_is_returned_in_time_is_not_leaked() -> None:
    pool = ObjectPool("connections", ConnectionFactory(), PoolOptions(max_total=1, leak_after_s=60))
    connection = pool.borrow_object()
    pool.maintain()
    pool.return_object(connection)
    assert pool.get_metrics().leaked == 0


def test_maintenance_beside_borrowers_loses_nothing() -> None:
    options = PoolOptions(
        max_total=4, idle_min=1, evict_idle_s=1e-6, test_while_idle=True, tests_per_run=2, leak_after_s=30, wait_s=10
    )
    pool = ObjectPool("connections", ConnectionFactory(), options)
    stop = time.monotonic() + 1

    def work() -> None:
        while time.monotonic() < stop:
            with pool.lend() as connection:
                assert connection.alive
                connection.uses += 1

    def keep() -> None:
        while time.monotonic() < stop:
            pool.maintain()

    threads = [threading.Thread(target=target) for target in (work, work, work, keep)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    metrics = pool.get_metrics()
    assert metrics.in_use == 0
    assert metrics.size == metrics.idle == metrics.made - metrics.destroyed <= 4
    assert metrics.evicted > 0
