"""Maintenance evicts, tests and prepares idle objects, and takes abandoned ones from their borrowers."""

import gc
import logging
import threading
import time
from typing import Literal

import pytest

from pooling.core import leak_detection as abandoned
from pooling.core.errors import NotBorrowed, UsedAfterReturn
from pooling.core.factory import CallableFactory
from pooling.core.object_pool import ObjectPool
from pooling.core.pool_options import PoolOptions
from tests.pooling.core.fake_connections import Connection, ConnectionFactory

SHORT_S = 0.02


def test_objects_idle_for_too_long_are_evicted_down_to_the_minimum() -> None:
    pool = ObjectPool("connections", ConnectionFactory(), PoolOptions(max_total=6, evict_idle_s=SHORT_S, idle_min=2))
    for connection in [pool.borrow_object() for _ in range(5)]:
        pool.return_object(connection)
    pool.maintain()
    assert pool.idle == 5
    time.sleep(2 * SHORT_S)
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


def test_unfit_objects_are_found_while_they_are_idle_all_in_turn() -> None:
    factory = ConnectionFactory()
    pool = ObjectPool("connections", factory, PoolOptions(max_total=6, test_while_idle=True, tests_per_run=2))
    pool.prepare(6)
    factory.connections[1].fit = factory.connections[4].fit = False
    for _ in range(3):
        pool.maintain()
    assert [connection.number for connection in factory.connections if not connection.alive] == [1, 4]
    assert pool.get_metrics().unfit == 2


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


def test_an_interrupted_test_loses_no_place() -> None:
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
        PoolOptions(max_total=400, abandoned_s=60),
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


def test_an_abandoned_object_is_reported_with_its_borrower_and_its_place_freed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = PoolOptions(max_total=1, abandoned_s=SHORT_S, trace=True)
    pool: ObjectPool[Connection] = ObjectPool("connections", ConnectionFactory(), options)

    def forgetful_borrower() -> None:
        forgotten.append(pool.borrow_object())

    forgotten: list[Connection] = []
    thread = threading.Thread(target=forgetful_borrower, name="forgetful")
    thread.start()
    thread.join()
    time.sleep(2 * SHORT_S)
    with caplog.at_level(logging.WARNING):
        pool.maintain()
    assert "thread 'forgetful'" in caplog.text
    assert "(forgetful_borrower)" in caplog.text
    assert not forgotten[0].alive
    assert pool.get_metrics().abandoned == 1
    assert pool.borrow_object(0) is not forgotten[0]
    with pytest.raises(NotBorrowed, match=r"taken for abandoned.*forgetful_borrower"):
        pool.return_object(forgotten[0])


def test_whoever_returns_in_the_moment_of_abandonment_learns_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = ObjectPool("connections", ConnectionFactory(), PoolOptions(max_total=1, abandoned_s=SHORT_S))
    late = pool.borrow_object()
    told: list[str] = []

    def return_late(*_: object) -> None:
        with pytest.raises(NotBorrowed) as error:
            pool.return_object(late)
        told.append(str(error.value))

    monkeypatch.setattr(abandoned, "report", return_late)
    time.sleep(2 * SHORT_S)
    pool.maintain()
    assert "taken for abandoned" in told[0]


def test_a_guard_tells_abandonment_from_return() -> None:
    options = PoolOptions(max_total=1, abandoned_s=SHORT_S, trace=True, guard=True)
    pool = ObjectPool("connections", ConnectionFactory(), options)
    with pool.lend() as returned:
        pass
    kept = pool.borrow_object()
    time.sleep(2 * SHORT_S)
    pool.maintain()
    with pytest.raises(UsedAfterReturn, match=r"taken for abandoned.*borrowed by thread.*test_a_guard_tells"):
        _ = kept.number
    with pytest.raises(UsedAfterReturn, match=r"after its return; last returned by thread"):
        _ = returned.number


def test_a_borrower_that_would_have_to_wait_finds_abandoned_objects_itself() -> None:
    pool = ObjectPool("connections", ConnectionFactory(), PoolOptions(max_total=1, abandoned_s=SHORT_S))
    pool.borrow_object()
    time.sleep(2 * SHORT_S)
    assert pool.borrow_object(0).alive


def test_what_is_returned_in_time_is_not_abandoned() -> None:
    pool = ObjectPool("connections", ConnectionFactory(), PoolOptions(max_total=1, abandoned_s=60))
    connection = pool.borrow_object()
    pool.maintain()
    pool.return_object(connection)
    assert pool.get_metrics().abandoned == 0


def test_maintenance_beside_borrowers_loses_nothing() -> None:
    options = PoolOptions(
        max_total=4, idle_min=1, evict_idle_s=1e-6, test_while_idle=True, tests_per_run=2, abandoned_s=30, wait_s=10
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
