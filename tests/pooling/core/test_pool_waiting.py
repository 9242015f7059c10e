"""Waiting for an object: served in turn, timed out, cancelled and closed, without losing one."""

import asyncio
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from penstock.host.clock import SYSTEM_CLOCK, Clock
from pooling.core.errors import PoolClosed, PoolExhausted
from pooling.core.factory import CallableFactory
from pooling.core.object_pool import ObjectPool
from pooling.core.pool_options import PoolOptions
from tests.fakes import ManualClock
from tests.pooling.core.fake_connections import Connection, ConnectionFactory
from tests.pooling.core.watched_clock import WatchedClock


def pool_of(
    max_total: int = 1, factory: ConnectionFactory | None = None, clock: Clock = SYSTEM_CLOCK
) -> ObjectPool[Connection]:
    return ObjectPool("connections", factory or ConnectionFactory(), PoolOptions(max_total=max_total), clock)


def test_borrowers_are_served_in_the_order_in_which_they_came() -> None:
    clock = WatchedClock()
    pool = pool_of(clock=clock)
    connection = pool.borrow_object()
    served: list[int] = []

    def borrow(number: int) -> None:
        with pool.lend(10):
            served.append(number)

    threads = [threading.Thread(target=borrow, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
        clock.until_waiting()
    pool.return_object(connection)
    for thread in threads:
        thread.join()
    assert served == list(range(8))
    metrics = pool.get_metrics()
    assert (metrics.waits, metrics.waiters, metrics.made) == (8, 0, 1)
    assert metrics.wait_ns >= metrics.wait_ns_max > 0


async def test_threads_and_coroutines_wait_in_one_queue() -> None:
    clock = WatchedClock()
    pool = pool_of(clock=clock)
    connection = pool.borrow_object()
    served: list[str] = []

    async def borrow(name: str) -> None:
        async with pool.lend_async(10):
            served.append(name)

    def borrow_in_thread() -> None:
        with pool.lend(10):
            served.append("thread")

    first = asyncio.create_task(borrow("first"))
    await asyncio.sleep(0)
    thread = threading.Thread(target=borrow_in_thread)
    thread.start()
    await asyncio.to_thread(clock.until_waiting)
    last = asyncio.create_task(borrow("last"))
    await asyncio.sleep(0)
    pool.return_object(connection)
    await asyncio.gather(first, last)
    thread.join()
    assert served == ["first", "thread", "last"]


def test_whoever_gives_up_leaves_the_queue() -> None:
    pool = pool_of(clock=ManualClock())
    with pool.lend():
        with pytest.raises(PoolExhausted, match="came back in 5 s"):
            pool.borrow_object(5)
        metrics = pool.get_metrics()
        assert (metrics.waiters, metrics.wait_ns, metrics.wait_ns_max) == (0, 5_000_000_000, 5_000_000_000)
    assert pool.borrow_object(0)


async def test_a_coroutine_that_gives_up_leaves_the_queue() -> None:
    pool = pool_of()
    with pool.lend():
        with pytest.raises(PoolExhausted):
            await pool.borrow_async(0.01)
        assert pool.get_metrics().waiters == 0
    assert await pool.borrow_async(0)


@pytest.mark.parametrize("returned_first", [True, False])
async def test_a_cancelled_borrow_leaks_nothing(returned_first: bool) -> None:
    pool = pool_of()
    connection = pool.borrow_object()
    task = asyncio.create_task(pool.borrow_async())
    await asyncio.sleep(0)
    if returned_first:  # the object has been delivered, and nobody is there to take it
        pool.return_object(connection)
        task.cancel()
    else:
        task.cancel()
        pool.return_object(connection)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (pool.in_use, pool.idle) == (0, 1)


def test_a_coroutine_whose_loop_was_closed_is_passed_over() -> None:
    pool = pool_of()
    connection = pool.borrow_object()

    async def give_up_badly() -> None:
        waiting = asyncio.ensure_future(pool.borrow_async())
        await asyncio.sleep(0)
        asyncio.tasks._unregister_task(waiting)  # so that nobody cancels it
        waiting._log_destroy_pending = False  # type: ignore[attr-defined]
        keep.append(waiting)

    keep: list[object] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(give_up_badly())
    loop.close()
    pool.return_object(connection)
    assert pool.borrow_object(0) is connection


def test_a_borrower_that_is_interrupted_on_its_way_into_the_queue_leaves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    pool = pool_of()
    connection = pool.borrow_object()
    with monkeypatch.context() as patched:
        patched.setattr(pool, "_balance", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pool.borrow_object(10)
    pool.return_object(connection)
    assert pool.borrow_object(0) is connection


def test_closing_wakes_those_who_wait() -> None:
    clock = WatchedClock()
    pool = pool_of(clock=clock)
    pool.borrow_object()
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(pool.borrow_object, 10) for _ in range(2)]
        clock.until_waiting(2)
        pool.close()
        for future in waiting:
            with pytest.raises(PoolClosed):
                future.result(10)


def test_a_failed_make_lets_the_next_waiter_try() -> None:
    clock, factory = WatchedClock(), ConnectionFactory()
    pool = pool_of(1, factory, clock)
    lent = pool.borrow_object()
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(pool.borrow_object, 10) for _ in range(2)]
        clock.until_waiting(2)
        factory.fail |= {"make", "passivate"}  # what comes back is destroyed, and the first waiter has to make
        pool.return_object(lent)
        with pytest.raises(RuntimeError):
            waiting[0].result(10)
        with pytest.raises(RuntimeError):
            waiting[1].result(10)
    assert pool.get_metrics().size == 0


def test_enlarging_serves_those_who_wait() -> None:
    clock = WatchedClock()
    pool = pool_of(clock=clock)
    pool.borrow_object()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(pool.borrow_object, 10)
        clock.until_waiting()
        pool.resize(2)
        assert waiting.result(10).alive


@pytest.mark.parametrize(("threads", "objects", "idle_max"), [(8, 3, 3), (8, 1, 1), (4, 8, 1), (6, 3, 0)])
def test_many_threads_never_share_lose_or_exceed_objects(threads: int, objects: int, idle_max: int) -> None:
    pool: ObjectPool[list[int]] = ObjectPool(
        "lists", CallableFactory(list), PoolOptions(max_total=objects, idle_max=idle_max)
    )
    stop = time.monotonic() + 1.0
    faults: list[str] = []
    borrows = [0] * threads

    def work(number: int) -> None:
        choices = random.Random(number)
        while time.monotonic() < stop:
            try:
                item = pool.borrow_object(choices.choice((None, 0, 0.0001)))
            except PoolExhausted:
                continue
            borrows[number] += 1
            if item:
                faults.append("lent twice at once")
            item.append(number)
            if choices.random() < 0.1:
                os.sched_yield()
            if item != [number]:
                faults.append("written by somebody else")
            item.clear()
            if pool.get_metrics().size > objects and choices.random() < 0.01:
                faults.append("more than there may be")
            pool.return_object(item)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
        assert not worker.is_alive(), "a borrower waits beside an idle object"
    metrics = pool.get_metrics()
    assert not faults
    assert metrics.borrows == sum(borrows)
    assert (metrics.in_use, metrics.waiters) == (0, 0)
    assert metrics.size == metrics.idle == metrics.made - metrics.destroyed <= objects


async def test_many_coroutines_and_threads_never_share_or_lose_objects() -> None:
    pool: ObjectPool[list[int]] = ObjectPool("lists", CallableFactory(list), PoolOptions(max_total=3))
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            with pool.lend() as item:
                assert not item

    async def borrow(number: int) -> int:
        choices = random.Random(number)
        for _ in range(100):
            try:
                async with pool.lend_async(choices.choice((None, 0.001))) as item:
                    assert not item
                    item.append(number)
                    try:
                        await asyncio.sleep(0)
                        assert item == [number]
                    finally:  # a borrower that is cancelled here returns the object clean, too
                        item.clear()
            except PoolExhausted:
                pass
        return number

    with ThreadPoolExecutor(1) as threads:
        busy = threads.submit(work)
        tasks = [asyncio.create_task(borrow(number)) for number in range(20)]
        for task in tasks[::4]:
            asyncio.get_running_loop().call_later(0.01, task.cancel)
        await asyncio.wait(tasks, timeout=60)
        done.set()
        busy.result(10)
    assert all(task.done() for task in tasks)
    assert not [task for task in tasks if not task.cancelled() and task.exception()]
    assert pool.in_use == 0
    assert pool.get_metrics().size == pool.idle
