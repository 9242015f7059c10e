"""A stress of forks: threads use a ring, an arena and a pool, while others fork children at any moment.

Some children do nothing, some end as programs do, some use all three themselves, some fork again, and some are killed.
Afterwards nothing is lost, nothing was lent twice, and every place is free again. Ends with status 1 and says why where
that is not so.

Usage: python -m tests.models.forks.stress SEED FORKS
"""

import faulthandler
import functools
import os
import random
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Final, NoReturn

import numpy as np

from pooling.arena.kernel import layout
from pooling.arena.slab_arena import SlabArena
from pooling.arena.slot import Slot
from pooling.core.factory import Factory
from pooling.core.object_pool import ObjectPool
from pooling.core.pool_options import PoolOptions
from tests.pooling.arena.audit import audit
from tests.txqueue.frames import FrameReceiver, assert_whole, make
from txqueue.errors import ProducersExhausted, QueueFull
from txqueue.queue import LockFreeTxQueue

_PRODUCERS: Final = 12
_HOLDERS: Final = 24
_SEQUENCE_BITS: Final = 20
_FRAMES: Final = 20
"""That a thread enqueues before it ends."""
_HUNG_S: Final = 20


class _Connection:
    """Stands for one that says goodbye in its finalizer, and may do so in its own process only."""

    def __init__(self) -> None:
        self.process_id = os.getpid()

    def __del__(self) -> None:
        if self.process_id != os.getpid():
            os.write(2, b"a child closed its parent's connection\n")
            os._exit(1)


class _Connections(Factory[_Connection]):
    def make(self) -> _Connection:
        return _Connection()

    def passivate(self, item: _Connection) -> None:
        assert item.process_id == os.getpid(), "a hook was called for the parent's object"


class _World:
    """What threads and children share, and what must come out of it."""

    def __init__(self) -> None:
        self.queue = LockFreeTxQueue.create(None, slots=256, producers=_PRODUCERS, buffer_bytes=1 << 14)
        self.arena = SlabArena.create(None, bytes_max=16 << 20, holders=_HOLDERS)
        self.pool = ObjectPool("connections", _Connections(), PoolOptions(max_total=6, test_on_return=True))
        self.local = threading.local()
        self.stopping = threading.Event()
        self.all_enqueued = threading.Event()
        self.failed = threading.Event()
        self.enqueued: dict[int, int] = {}
        """Frames by writer."""
        self.received: dict[int, int] = {}
        self._writers = iter(range(1, 1 << 30))
        self._lock = threading.Lock()

    def new_writer(self, frames: int = 0) -> int:
        with self._lock:
            writer = next(self._writers)
            self.enqueued[writer] = frames
        return writer

    def start(self, function: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=self._checked, args=(function,), daemon=True)
        thread.start()
        return thread

    def _checked(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception:
            traceback.print_exc()
            self.fail()

    def fail(self) -> None:
        self.failed.set()
        self.stopping.set()

    def put(self, writer: int, sequence: int) -> None:
        frame = make(writer << _SEQUENCE_BITS | sequence, 1 + sequence % 5, sequence % 40)
        while True:
            try:
                self.queue.enqueue(frame.records, frame.payloads, frame.token)
            except (QueueFull, ProducersExhausted):
                assert not self.failed.is_set()
                threading.Event().wait(0.001)
            else:
                return

    def consume(self) -> None:
        receiver = FrameReceiver(self.queue)
        while not (self.all_enqueued.is_set() and self.has_received_all()):
            assert not self.failed.is_set()
            for frame in receiver.receive():
                assert_whole(frame)
                writer, sequence = frame.token >> _SEQUENCE_BITS, frame.token & ((1 << _SEQUENCE_BITS) - 1)
                assert self.received.get(writer, 0) == sequence, f"frame {sequence} of {writer} is out of turn"
                self.received[writer] = sequence + 1
            self.queue.wait(0.005)

    def has_received_all(self) -> bool:
        """Whether every frame has come; a writer that was told to stop before its first one has none."""
        return self.received == {writer: frames for writer, frames in self.enqueued.items() if frames}

    def write(self, lasting: bool) -> None:
        writer = self.new_writer()
        sequence = 0
        while not self.stopping.is_set() and (lasting or sequence < _FRAMES):
            self.put(writer, sequence)
            sequence += 1
            self.enqueued[writer] = sequence

    def lend(self, seed: int) -> None:
        """Keeps slots in a thread-local object, too, with contents that nobody else may change."""
        choose = random.Random(seed)
        slots: list[tuple[Slot, int]] = []
        self.local.slots = slots
        for _ in range(400):
            if self.stopping.is_set():
                break
            if len(slots) < 8:
                slot = self.arena.allocate(choose.choice((32, 100, 1000, 5000, 70_000)))
                slots.append((slot, choose.randrange(256)))
                slot.array().fill(slots[-1][1])
            slot, content = slots[choose.randrange(len(slots))]
            assert np.all(slot.array() == content), "a slot was lent twice"
            if choose.random() < 0.4:
                slots.remove((slot, content))
                slot.release()
            if choose.random() < 0.2:  # a slot that nothing but a thread-local object knows
                if hasattr(self.local, "slot"):
                    self.local.slot.release()
                self.local.slot = self.arena.allocate(200)
            self.local.connection = self.pool.borrow_object(10)
            assert self.local.connection.process_id == os.getpid()
            self.pool.return_object(self.local.connection)

    def churn(self, seed: int) -> None:
        """One thread after the other, each of which leaves its places to whoever comes next."""
        while not self.stopping.is_set():
            for thread in (
                self.start(lambda: self.write(lasting=False)),
                self.start(functools.partial(self.lend, seed)),
            ):
                thread.join()
            seed += 1

    def fork(self, choose: random.Random) -> None:
        """Forks one child, and checks how it ends."""
        kind = choose.choice(("idle", "idle", "idle", "ends", "works", "forks", "dies"))
        writer = self.new_writer(1) if kind in ("works", "forks", "dies") else 0
        child = os.fork()
        if child == 0:
            signal.alarm(_HUNG_S)
            self.be_child(kind, writer)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert ended == (-signal.SIGKILL if kind == "dies" else 0), f"a child that {kind} ended with {ended}"

    def fork_some(self, choose: random.Random, count: int) -> None:
        for _ in range(count):
            if self.failed.is_set():
                break
            self.fork(choose)

    def be_child(self, kind: str, writer: int) -> NoReturn:
        code = 1
        try:
            if kind == "ends":
                sys.exit()  # by way of everything that a program leaves behind, and all finalizers
            if kind == "forks":
                grandchild = os.fork()
                if grandchild == 0:
                    self.work(writer)
                    os._exit(0)
                assert os.waitpid(grandchild, 0)[1] == 0
            elif writer:
                self.work(writer)
            if kind == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            code = 0
        except Exception:
            traceback.print_exc()
        finally:
            if kind != "ends":
                os._exit(code)
        raise AssertionError

    def work(self, writer: int) -> None:
        self.put(writer, 0)
        with self.arena.allocate(500) as slot:
            slot.array().fill(7)
        self.arena.allocate(3000).hand_over()  # lost with this process, until somebody finds it
        connections = [self.pool.borrow_object(0) for _ in range(6)]
        assert all(connection.process_id == os.getpid() for connection in connections)


def _check_places(world: _World) -> None:
    """Everything that was lent is free again, for others."""
    for producer in [world.queue.register() for _ in range(_PRODUCERS)]:
        producer.close()
    world.arena.recover_dead()
    for holder in [world.arena.register() for _ in range(_HOLDERS - world.arena.get_arena_metrics().holders)]:
        holder.close()
    world.arena.trim()
    found = audit(world.arena.words)
    assert not found.lent, "slots are lent to nobody"
    metrics = world.pool.get_metrics()
    assert (metrics.in_use, metrics.destroyed, metrics.invalid) == (0, 0, 0), "the parent's pool was changed"
    assert layout.PAGE_BYTES * found.free_pages <= world.arena.bytes_max


def stress(seed: int, forks: int) -> bool:
    """Forks so many children; returns whether all went well."""
    sys.setswitchinterval(0.0005)  # forks come between any two steps of the other threads
    choose = random.Random(seed)
    world = _World()
    with world.queue, world.arena:  # which children leave, too
        consumer = world.start(world.consume)
        threads = [world.start(lambda: world.write(lasting=True)) for _ in range(2)]
        threads += [world.start(lambda: world.churn(seed)), world.start(lambda: world.churn(seed + 1000))]
        threads.append(world.start(lambda: world.fork_some(random.Random(seed + 1), forks // 3)))
        try:
            world.fork_some(choose, forks - forks // 3)
        except AssertionError:
            traceback.print_exc()
            world.fail()
        threads[-1].join()
        world.stopping.set()
        for thread in threads:
            thread.join()
        world.all_enqueued.set()
        consumer.join()
        if not world.failed.is_set():
            _check_places(world)
    return not world.failed.is_set()


if __name__ == "__main__":
    faulthandler.register(signal.SIGALRM, chain=True)
    signal.alarm(6 * _HUNG_S)
    if not stress(int(sys.argv[1]), int(sys.argv[2])):
        sys.exit(1)
    print("nothing was lost")
