"""One manager has pools by name and by class, keeps them within a budget, and sizes them by what it saw."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import pooling.manager
from penstock.host.clock import SystemClock
from pooling.core.errors import BudgetTooSmall, PoolClosed, PoolUnknown
from pooling.core.factory import CallableFactory
from pooling.core.object_pool import ObjectPool
from pooling.core.pool_options import PoolOptions
from pooling.manager import ObjectPoolManager
from tests.fakes import ManualClock
from tests.pooling.core.fake_connections import Connection, ConnectionFactory


class Widget:
    """Made without arguments."""


def test_any_class_has_a_pool_of_its_own() -> None:
    manager = ObjectPoolManager(1 << 20)
    widget = manager.borrow_object(Widget)
    assert isinstance(widget, Widget)
    manager.return_object(Widget, widget)
    assert manager.borrow_object(Widget) is widget
    assert [metrics.name for metrics in manager.get_pool_metrics()] == [f"{__name__}.Widget"]


def test_a_class_may_come_with_a_factory_and_options() -> None:
    manager = ObjectPoolManager(1 << 20)
    factory = ConnectionFactory()
    manager.register(Connection, factory, PoolOptions(max_total=3))
    assert manager.borrow_object(Connection) is factory.connections[0]
    assert manager.pool(Connection).max_total == 3


def test_pools_are_found_by_name_and_cleared() -> None:
    manager = ObjectPoolManager(1 << 20)
    manager.create_pool("dicts", CallableFactory(dict, reset=dict.clear))
    item = manager.borrow_object("dicts")
    item["a"] = 1
    manager.return_object("dicts", item)
    assert manager.borrow_object("dicts") == {}
    manager.return_object("dicts", item)
    assert manager.clear_pool("dicts") == 1


def test_an_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    manager = ObjectPoolManager(1 << 20)
    manager.create_pool("dicts", CallableFactory(dict))
    with pytest.raises(PoolUnknown, match="there are dicts"):
        manager.borrow_object("lists")


def test_a_name_is_given_once() -> None:
    manager = ObjectPoolManager(1 << 20)
    manager.create_pool("dicts", CallableFactory(dict))
    with pytest.raises(ValueError, match="choose another name"):
        manager.create_pool("dicts", CallableFactory(dict))


def test_no_pool_may_exceed_the_budget() -> None:
    manager = ObjectPoolManager(1000)
    with pytest.raises(BudgetTooSmall, match="ask for 10 at most"):
        manager.create_pool("connections", ConnectionFactory(), PoolOptions(max_total=11), object_bytes=100)
    manager.create_pool("connections", ConnectionFactory(), PoolOptions(max_total=10), object_bytes=100)
    with pytest.raises(BudgetTooSmall):
        manager.resize_pool("connections", 11)
    manager.resize_pool("connections", 2)
    assert manager.pool("connections").max_total == 2


def exercise(manager: ObjectPoolManager, name: str, concurrent: int) -> None:
    pool = manager.pool(name)
    for _ in range(5):
        for item in [pool.borrow_object(0) for _ in range(concurrent)]:
            pool.return_object(item)


def test_sizes_follow_the_peaks_that_were_seen_and_never_touch_what_is_lent() -> None:
    clock = ManualClock()
    manager = ObjectPoolManager(1 << 30, clock)
    manager.create_pool("busy", ConnectionFactory(), PoolOptions(max_total=64))
    manager.create_pool("quiet", ConnectionFactory(), PoolOptions(max_total=64))
    manager.pool("quiet").prepare(64)
    lent = [manager.pool("quiet").borrow_object() for _ in range(3)]
    for _ in range(10):
        exercise(manager, "busy", 20)
        clock.advance(30)
        manager.optimize_pool_sizes()
    busy, quiet = manager.get_pool_metrics()
    assert 20 <= busy.size <= 64
    assert 3 <= quiet.size < 32
    assert all(connection.alive for connection in lent)


def test_sizing_keeps_what_the_options_want_ready() -> None:
    manager = ObjectPoolManager(1 << 30)
    pool = manager.create_pool("connections", ConnectionFactory(), PoolOptions(max_total=64, idle_min=7))
    manager.maintain()
    for _ in range(3):
        manager.optimize_pool_sizes()
    assert pool.idle == 7


def test_a_budget_that_is_short_is_shared() -> None:
    clock = ManualClock()
    manager = ObjectPoolManager(4000, clock)
    for name in ("a", "b"):
        manager.create_pool(name, ConnectionFactory(), PoolOptions(max_total=40), object_bytes=100)
    for _ in range(10):
        exercise(manager, "a", 30)
        exercise(manager, "b", 30)
        clock.advance(30)
        resized = manager.optimize_pool_sizes()
    assert all(each.wanted >= 30 for each in resized)
    sizes = [metrics.size for metrics in manager.get_pool_metrics()]
    assert sum(sizes) <= 40
    assert min(sizes) >= 15


def test_two_threads_that_use_a_class_first_share_its_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    both_found_none = threading.Barrier(2)

    def make_pool(*arguments: Any) -> ObjectPool[Any]:
        both_found_none.wait(10)
        return ObjectPool(*arguments)

    monkeypatch.setattr(pooling.manager, "ObjectPool", make_pool)
    manager = ObjectPoolManager(1 << 20)
    with ThreadPoolExecutor(2) as threads:
        pools = [threads.submit(manager.pool, Widget) for _ in range(2)]
        assert pools[0].result(10) is pools[1].result(10)
    assert len(manager.pools()) == 1


def test_sizing_is_done_by_one_thread_at_a_time() -> None:
    class SizingClock(SystemClock):
        """Counts how often a pool is sized; while that is done for the first time, a second thread tries to."""

        sized = 0

        def time_ns(self) -> int:
            self.sized += 1
            if self.sized == 1:
                second.start()
                second.join(0.05)
                assert self.sized == 1, "the sizer is used by two threads at once"
            return super().time_ns()

    clock = SizingClock()
    manager = ObjectPoolManager(1 << 20, clock)
    second = threading.Thread(target=manager.optimize_pool_sizes)
    clock.sized = -1  # the first interval begins when a pool is made
    manager.create_pool("connections", ConnectionFactory())
    assert clock.sized == 0
    manager.optimize_pool_sizes()
    second.join(10)
    assert clock.sized == 2


def test_a_factory_that_fails_leaves_other_pools_their_maintenance(
    caplog: pytest.LogCaptureFixture,
) -> None:
    manager = ObjectPoolManager(1 << 20)
    factory = ConnectionFactory()
    factory.fail.add("make")
    failing = manager.create_pool("failing", factory, PoolOptions(idle_min=1))
    manager.create_pool("connections", ConnectionFactory(), PoolOptions(idle_min=2))
    manager.maintain()
    assert manager.pool("connections").idle == 2
    assert manager.clear_pool("connections") == 2
    assert [resized.size for resized in manager.optimize_pool_sizes()] == [0, 2]
    assert "pool failing: its maintenance failed" in caplog.text
    assert "pool failing could not be sized" in caplog.text
    factory.fail.clear()
    manager.maintain()
    assert failing.idle == 1


def test_closing_closes_all_pools_for_good() -> None:
    manager = ObjectPoolManager(1 << 20)
    manager.borrow_object(Widget)
    manager.close()
    for kind in (Widget, Connection):
        with pytest.raises(PoolClosed):
            manager.borrow_object(kind)
    with pytest.raises(PoolClosed):
        manager.create_pool("connections", ConnectionFactory())
