"""Everything at once, with a factory that fails everywhere: the books stay right, and nobody is left waiting."""

import asyncio
import logging
import random
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from pooling.core.errors import PoolError
from pooling.core.factory import Factory
from pooling.core.object_pool import ObjectPool
from pooling.core.pool_options import PoolOptions

SECONDS = 0.7
OBJECTS = 6
FAULTS = (RuntimeError, KeyboardInterrupt, PoolError, TimeoutError)


class Fragile:
    alive = True


class FragileFactory(Factory[Fragile]):
    """Counts what is alive, and what was done to the dead: pools take what a hook raises for the object's fault."""

    def __init__(self) -> None:
        self.choices = random.Random(1)
        self.failing = True
        self.alive = self.alive_max = self.dead_touched = 0
        self._lock = threading.Lock()

    def make(self) -> Fragile:
        self._maybe(0.05, RuntimeError)
        with self._lock:
            self.alive += 1
            self.alive_max = max(self.alive_max, self.alive)
        return Fragile()

    def activate(self, item: Fragile) -> None:
        self.dead_touched += not item.alive
        self._maybe(0.02, RuntimeError)

    def validate(self, item: Fragile) -> bool:
        self.dead_touched += not item.alive
        return self.choices.random() > 0.05

    def passivate(self, item: Fragile) -> None:
        self.dead_touched += not item.alive
        self._maybe(0.02, KeyboardInterrupt)

    def destroy(self, item: Fragile) -> None:
        self.dead_touched += not item.alive
        item.alive = False
        with self._lock:
            self.alive -= 1
        self._maybe(0.05, KeyboardInterrupt)

    def _maybe(self, share: float, error: type[BaseException]) -> None:
        if self.failing and self.choices.random() < share:
            raise error


@pytest.fixture(autouse=True)
def _hasty_threads() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    sys.setswitchinterval(interval)


@pytest.mark.parametrize(
    "options",
    [
        PoolOptions(max_total=OBJECTS, test_while_idle=True, evict_idle_s=1e-6, idle_min=1, test_on_return=True),
        PoolOptions(max_total=OBJECTS, order="fifo", idle_max=1, test_while_idle=True),
        PoolOptions(max_total=OBJECTS, leak_after_s=0.002, test_on_borrow=True),
    ],
)
def test_the_books_are_right_in_the_end(options: PoolOptions) -> None:
    factory = FragileFactory()
    pool = ObjectPool("fragile", factory, options)
    until = time.monotonic() + SECONDS
    served = [0] * 8
    sizes: list[int] = []

    def borrow(number: int) -> None:
        choices = random.Random(number)
        while time.monotonic() < until:
            try:
                item = pool.borrow_object(choices.choice((None, 0, 0.001)))
                pool.return_object(item)
                served[number] += 1
            except FAULTS:
                pass

    async def borrow_in_task(number: int) -> None:
        choices = random.Random(number)
        while time.monotonic() < until:
            try:
                async with asyncio.timeout(choices.choice((0.0001, 0.001, 1))):
                    item = await pool.borrow_async(choices.choice((None, 0, 0.001)))
                pool.return_object(item)
                served[number] += 1
            except FAULTS:
                pass
            await asyncio.sleep(0)

    async def borrow_in_tasks() -> None:
        await asyncio.gather(*(borrow_in_task(number) for number in range(4, 8)))

    def meddle() -> None:
        choices = random.Random(8)
        while time.monotonic() < until:
            try:
                match choices.randrange(5):
                    case 0:
                        pool.maintain()
                    case 1:
                        pool.clear()
                    case 2:
                        pool.resize(choices.randint(1, OBJECTS))
                    case 3:
                        pool.adjust_size(choices.randint(0, OBJECTS))
                    case 4:
                        sizes.append(pool.get_metrics().size)
            except FAULTS:
                pass

    threads = [threading.Thread(target=borrow, args=(number,)) for number in range(4)]
    threads += [threading.Thread(target=asyncio.run, args=(borrow_in_tasks(),)), threading.Thread(target=meddle)]
    for thread in threads:
        thread.daemon = True
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive(), "a borrower waits for what nobody will give it"
    factory.failing = False
    assert all(served)
    metrics = pool.get_metrics()
    assert (metrics.in_use, metrics.waiters) == (0, 0)
    assert metrics.size == metrics.idle == metrics.made - metrics.destroyed == factory.alive
    assert max(factory.alive_max, *sizes) <= OBJECTS
    assert not factory.dead_touched
    pool.close()
    assert pool.get_metrics().size == factory.alive == 0
