"""Runs the ring's kernels in a child process, instruction by instruction, and kills or stops it at a chosen one.

A program of its own, as it forks: ``python -m tests.models.ring.stepping producer-kill --every 5 --first 2``. It goes
through the steps ``first, first + every, ...`` of one operation until the operation ends before the step is reached,
and prints how many steps it tried. What must hold after each is asserted here.
"""

import argparse
import ctypes
import mmap
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numpy.typing import NDArray

from tests.txqueue.frames import Frame, FrameReceiver, assert_whole, make
from txqueue.errors import ProducersExhausted, QueueFull
from txqueue.jit.atomics import store_release
from txqueue.jit.decorators import kernel
from txqueue.jit.intrinsic import intrinsic
from txqueue.producer import Producer
from txqueue.queue import LockFreeTxQueue
from txqueue.region.process_identity import this_process
from txqueue.ring import dequeue as ring_consumer
from txqueue.ring import layout as ring_layout
from txqueue.ring import ring
from txqueue.ring.producer_registry import register

_TRACEME, _CONT, _SINGLESTEP, _DETACH = 0, 7, 9, 17
_BEGUN, _ENDED = 1, 2
_BUFFER_BYTES = 2048
_RECORDS = 17
"""More than half of a buffer."""
_PLACE = 1
"""Of the producer that is not this process's."""
_RECORDS_NEARLY_ALL = 30
"""They fill a buffer but for two lines."""
_ALL_ONES = np.uint64(2**64 - 1)
"""As a count, none that a frame can have."""

_libc = ctypes.CDLL(None, use_errno=True)


def _ptrace(request: int, process: int, data: int = 0) -> None:
    if _libc.ptrace(ctypes.c_long(request), ctypes.c_long(process), None, ctypes.c_void_p(data)) < 0:
        failure = ctypes.get_errno()
        raise OSError(failure, f"ptrace: {os.strerror(failure)}")


def _lower_trap(_typing_context: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [])
        builder.call(builder.module.declare_intrinsic("llvm.debugtrap", (), kind), [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic(_lower_trap)
def _trap() -> None:
    """Stops the process at exactly this place, if it is traced."""


@kernel
def _publish(words: NDArray[np.uint64], producer: int, content: NDArray[np.uint64], notes: NDArray[np.uint64]) -> None:
    _trap()
    first = ring.claim(words, producer, content.shape[0] >> 3, 0)
    for word in range(content.shape[0]):
        words[first + word] = content[word]
    ring.publish(words, producer, 7)
    store_release(notes, 0, _ENDED)


@kernel
def _dequeue(
    words: NDArray[np.uint64],
    state: NDArray[np.uint64],
    body: NDArray[np.uint8],
    frames: NDArray[np.uint64],
    notes: NDArray[np.uint64],
) -> None:
    _trap()
    taken, _, _ = ring_consumer.dequeue(words, state, body, frames, 10_000)
    store_release(notes, 1, np.int64(taken) + 100)
    store_release(notes, 0, _ENDED)


@kernel
def _register(words: NDArray[np.uint64], index: int, holder: int, owner: int, notes: NDArray[np.uint64]) -> None:
    _trap()
    taken = register(words, index, holder, owner)
    store_release(notes, 1, np.int64(taken) + 100)
    store_release(notes, 0, _ENDED)


class Stepped:
    """A child process, stopped a number of instructions after the trap in what it does; or at its end."""

    def __init__(self, work: Callable[[], None], notes: NDArray[np.uint64], steps: int) -> None:
        notes[:2] = _BEGUN, 0
        self._notes = notes
        self.pid = os.fork()
        if self.pid == 0:
            _ptrace(_TRACEME, 0)
            work()
            os._exit(0)
        self._wait_for_trap()
        for _ in range(steps):
            if self.has_ended:
                break
            _ptrace(_SINGLESTEP, self.pid)
            self._wait_for_trap()

    @property
    def has_ended(self) -> bool:
        return int(self._notes[0]) == _ENDED

    def _wait_for_trap(self) -> None:
        _, status = os.waitpid(self.pid, 0)
        assert os.WIFSTOPPED(status), status
        assert os.WSTOPSIG(status) == signal.SIGTRAP, status

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def go_on(self) -> None:
        _ptrace(_DETACH, self.pid)
        _, status = os.waitpid(self.pid, 0)
        assert status == 0, f"ended with {status}"


class Scene:
    """A ring with a producer of this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.queue = LockFreeTxQueue.create(path, slots=8, producers=2, buffer_bytes=_BUFFER_BYTES)
        self.notes = np.frombuffer(mmap.mmap(-1, mmap.PAGESIZE), np.uint64)
        self.mine = self.queue.register()
        self.frame = make(7, _RECORDS)
        self.rows = np.zeros((8, 4), np.uint64)
        self.body = np.zeros(10_000 * 64, np.uint8)

    def put(self, producer: Producer, token: int) -> None:
        producer.enqueue(make(token, _RECORDS).records, token=token)

    def tokens(self, frames: list[Frame]) -> list[int]:
        for frame in frames:
            assert_whole(frame)
        return [frame.token for frame in frames]

    def publish(self) -> None:
        """What a child does as a producer."""
        producer = self.queue.register()
        _publish(self.queue.words, producer.index, self.frame.records.ravel(), self.notes)
        os._exit(0)

    def register(self) -> None:
        """What a child does in a dead producer's place."""
        _register(self.queue.words, _PLACE, self.holder(), this_process(), self.notes)
        os._exit(0)

    def holder(self) -> int:
        """Whose the place is."""
        controls = int(self.queue.words[ring_layout.CONTROLS_AT])
        return int(self.queue.words[controls + _PLACE * ring_layout.CONTROL_WORDS + ring_layout.OWNER])

    def leave_place(self, receiver: FrameReceiver) -> None:
        """A process dies with the place, a frame that was taken, and a claim."""
        process = os.fork()
        if process == 0:
            producer = self.queue.register()
            self.put(producer, 5)
            ring.claim(self.queue.words, producer.index, 1, 0)
            os._exit(0)
        os.waitpid(process, 0)
        assert self.tokens(receiver.receive()) == [5]
        assert self.holder() != 0

    def dequeue(self) -> None:
        """What a child does as a consumer."""
        queue = LockFreeTxQueue.attach(self.path)
        queue._consumer.check()
        _dequeue(queue.words, queue._consumer.state, self.body, self.rows, self.notes)
        os._exit(0)


def producer_kill(scene: Scene, steps: int) -> bool:
    """The frame arrives whole or not at all, others are not disturbed, and the place is of use again."""
    with LockFreeTxQueue.attach(scene.path) as consumer:
        receiver = FrameReceiver(consumer)
        child = Stepped(scene.publish, scene.notes, steps)
        ended = child.has_ended
        child.kill()
        scene.put(scene.mine, 1)
        got = scene.tokens(receiver.receive())
        assert got == [7, 1] or (got == [1] and not ended)
        scene.put(scene.mine, 2)
        with scene.queue.register() as successor:
            scene.put(successor, 3)
            assert scene.tokens(receiver.receive()) == [2, 3]
    metrics = scene.queue.get_queue_metrics()
    assert metrics.size == 0
    assert metrics.frames_enqueued == metrics.frames_dequeued
    return ended


def producer_stop(scene: Scene, steps: int) -> bool:
    """Others go on as if it were not there, nobody gets its place, and its frame arrives once, whole."""
    with LockFreeTxQueue.attach(scene.path) as consumer:
        receiver = FrameReceiver(consumer)
        child = Stepped(scene.publish, scene.notes, steps)
        ended = child.has_ended
        got: list[int] = []
        for token in (1, 2, 3):
            scene.put(scene.mine, token)
            got += scene.tokens(receiver.receive())
        try:
            scene.queue.register()
            raise AssertionError("a stopped process lost its place")
        except ProducersExhausted:
            pass
        assert got in ([1, 2, 3], [7, 1, 2, 3])
        child.go_on()
        got += scene.tokens(receiver.receive())
        assert sorted(got) == [1, 2, 3, 7]
    return ended


def registration_kill(scene: Scene, steps: int) -> bool:
    """The place is of use to the next one."""
    with LockFreeTxQueue.attach(scene.path) as consumer:
        receiver = FrameReceiver(consumer)
        scene.leave_place(receiver)
        child = Stepped(scene.register, scene.notes, steps)
        ended = child.has_ended
        child.kill()
        with scene.queue.register() as successor:
            for token in (1, 2, 3):
                scene.put(successor, token)
                assert scene.tokens(receiver.receive()) == [token]
    metrics = scene.queue.get_queue_metrics()
    assert metrics.size == 0
    assert metrics.enqueued == metrics.dequeued == metrics.frames_enqueued * _RECORDS
    return ended


def registration_stop(scene: Scene, steps: int) -> bool:
    """The place gets one owner, whoever goes on first."""
    with LockFreeTxQueue.attach(scene.path) as consumer:
        receiver = FrameReceiver(consumer)
        scene.leave_place(receiver)
        child = Stepped(scene.register, scene.notes, steps)
        ended = child.has_ended
        try:
            successor = scene.queue.register()
        except ProducersExhausted:
            child.go_on()
            assert int(scene.notes[1]) - 100 == 1, "it was stopped with the place"
            successor = scene.queue.register()
        else:
            child.go_on()
            assert int(scene.notes[1]) - 100 == 0, "it came too late"
        with successor:
            scene.put(successor, 1)
            assert scene.tokens(receiver.receive()) == [1]
    return ended


def consumer_kill(scene: Scene, steps: int) -> bool:
    """What it committed is gone, what it had not is taken again, and no producer is left waiting for room."""
    scene.put(scene.mine, 1)
    before = int(scene.queue.words[ring_layout.HEAD]) >> ring_layout.EPOCH_BITS
    child = Stepped(scene.dequeue, scene.notes, steps)
    ended = child.has_ended
    child.kill()
    committed = (int(scene.queue.words[ring_layout.HEAD]) >> ring_layout.EPOCH_BITS) - before
    assert committed in ((1,) if ended else (0, 1))
    if committed:
        scene.put(scene.mine, 2)  # before anybody took over: only the dead one could have told that there is room
    with LockFreeTxQueue.attach(scene.path) as consumer:
        assert scene.tokens(FrameReceiver(consumer).receive()) == ([2] if committed else [1])
        scene.put(scene.mine, 3)
        assert scene.tokens(FrameReceiver(consumer).receive()) == [3]
        assert consumer.get_queue_metrics().size == 0
    return ended


def consumer_stop(scene: Scene, steps: int) -> bool:
    """Whoever takes over and the one that was stopped commit each frame once between them; the latter finds out."""
    scene.put(scene.mine, 1)
    child = Stepped(scene.dequeue, scene.notes, steps)
    ended = child.has_ended
    with LockFreeTxQueue.attach(scene.path) as consumer:
        consumer.take_over()
        receiver = FrameReceiver(consumer)
        got = scene.tokens(receiver.receive())
        try:
            scene.put(scene.mine, 2)
        except QueueFull:
            raise AssertionError("the stopped consumer holds up a producer") from None
        child.go_on()
        child_took = int(scene.notes[1]) - 100
        assert child_took in (1, ring_consumer.FENCED)
        assert got == ([] if child_took == 1 else [1])
        assert scene.tokens(receiver.receive()) == [2]
        scene.put(scene.mine, 3)
        assert scene.tokens(receiver.receive()) == [3]
    return ended


def consumer_overwritten(scene: Scene, steps: int) -> bool:
    """Headers that it is about to read become records of whatever content: it finds out that it was replaced."""
    for token in (1, 2):
        scene.mine.enqueue(make(token, 1).records, token=token)
    child = Stepped(scene.dequeue, scene.notes, steps)
    ended = child.has_ended
    with LockFreeTxQueue.attach(scene.path) as consumer:
        consumer.take_over()
        receiver = FrameReceiver(consumer)
        got = scene.tokens(receiver.receive())
        scene.mine.enqueue(np.full((_RECORDS_NEARLY_ALL, 8), _ALL_ONES), token=3)
        child.go_on()
        child_took = int(scene.notes[1]) - 100
        assert child_took in (2, ring_consumer.FENCED)
        assert got == ([] if child_took == 2 else [1, 2])
        assert [frame.token for frame in receiver.receive()] == [3]
    return ended


SCENES = {
    "registration-kill": registration_kill,
    "registration-stop": registration_stop,
    "producer-kill": producer_kill,
    "producer-stop": producer_stop,
    "consumer-kill": consumer_kill,
    "consumer-stop": consumer_stop,
    "consumer-overwritten": consumer_overwritten,
}


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("scene", choices=SCENES)
    arguments.add_argument("--first", type=int, default=0)
    arguments.add_argument("--every", type=int, default=1)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        scene = Scene(Path(directory) / "ring")
        steps = tried = 0
        steps = chosen.first
        ended = False
        while not ended:
            try:
                ended = SCENES[chosen.scene](scene, steps)
            except AssertionError as error:
                raise AssertionError(f"at step {steps} of {chosen.scene}") from error
            tried += 1
            steps += chosen.every
        print(tried)


if __name__ == "__main__":
    main()
