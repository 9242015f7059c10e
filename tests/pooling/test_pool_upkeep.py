"""Maintenance evicts, tests and prepares idle objects, and takes abandoned ones from their borrowers."""

import logging
import threading
import time

import pytest

from pooling.object_pool import ObjectPool
from pooling.pool_errors import NotBorrowed
from pooling.pool_options import PoolOptions
from tests.pooling.things import Thing, ThingFactory

SHORT_S = 0.02


def test_objects_idle_for_too_long_are_evicted_down_to_the_minimum() -> None:
    pool = ObjectPool("things", ThingFactory(), PoolOptions(max_total=6, evict_idle_s=SHORT_S, idle_min=2))
    for thing in [pool.borrow_object() for _ in range(5)]:
        pool.return_object(thing)
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
    pool = ObjectPool("things", ThingFactory(), PoolOptions(max_total=4, idle_min=3))
    pool.borrow_object()
    pool.maintain()
    assert (pool.idle, pool.in_use) == (3, 1)
    pool.borrow_object()
    pool.maintain()
    assert (pool.idle, pool.in_use) == (2, 2), "the maximum goes before the minimum"


def test_unfit_objects_are_found_while_they_are_idle_all_in_turn() -> None:
    factory = ThingFactory()
    pool = ObjectPool("things", factory, PoolOptions(max_total=6, test_while_idle=True, tests_per_run=2))
    pool.prepare(6)
    factory.things[1].fit = factory.things[4].fit = False
    for _ in range(3):
        pool.maintain()
    assert [thing.number for thing in factory.things if not thing.alive] == [1, 4]
    assert pool.get_metrics().unfit == 2


def test_testing_keeps_the_last_returned_object_first() -> None:
    pool = ObjectPool("things", ThingFactory(), PoolOptions(max_total=3, test_while_idle=True, tests_per_run=1))
    pool.prepare(3)
    with pool.lend() as last:
        pass
    pool.maintain()
    pool.maintain()
    assert pool.borrow_object() is last


def test_an_abandoned_object_is_reported_with_its_borrower_and_its_place_freed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = PoolOptions(max_total=1, abandoned_s=SHORT_S, trace=True)
    pool: ObjectPool[Thing] = ObjectPool("things", ThingFactory(), options)

    def forgetful_borrower() -> None:
        forgotten.append(pool.borrow_object())

    forgotten: list[Thing] = []
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


def test_a_borrower_that_would_have_to_wait_finds_abandoned_objects_itself() -> None:
    pool = ObjectPool("things", ThingFactory(), PoolOptions(max_total=1, abandoned_s=SHORT_S))
    pool.borrow_object()
    time.sleep(2 * SHORT_S)
    assert pool.borrow_object(0).alive


def test_what_is_returned_in_time_is_not_abandoned() -> None:
    pool = ObjectPool("things", ThingFactory(), PoolOptions(max_total=1, abandoned_s=60))
    thing = pool.borrow_object()
    pool.maintain()
    pool.return_object(thing)
    assert pool.get_metrics().abandoned == 0


def test_maintenance_beside_borrowers_loses_nothing() -> None:
    options = PoolOptions(
        max_total=4, idle_min=1, evict_idle_s=1e-6, test_while_idle=True, tests_per_run=2, abandoned_s=30, wait_s=10
    )
    pool = ObjectPool("things", ThingFactory(), options)
    stop = time.monotonic() + 1

    def work() -> None:
        while time.monotonic() < stop:
            with pool.lend() as thing:
                assert thing.alive
                thing.uses += 1

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
