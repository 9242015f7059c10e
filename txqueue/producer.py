"""A producer: the right of one thread to enqueue frames."""

from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from penstock.contract.limits import BATCH_SIZE, FRAME_PAYLOAD_BYTES_MAX
from txqueue.errors import FrameTooLarge, ProducersExhausted, QueueClosed, QueueFull
from txqueue.jit.compare_and_swap import compare_and_swap
from txqueue.jit.decorators import load
from txqueue.region import fork
from txqueue.region.fork import disown_in_children, finalize_in_process
from txqueue.region.futex import Futex
from txqueue.region.process_identity import is_alive, this_process
from txqueue.ring import layout as ring_layout
from txqueue.ring import ring
from txqueue.ring.producer_registry import register

NO_PAYLOADS: Final[NDArray[np.uint8]] = np.empty(0, np.uint8)
_CLOSED: Final[NDArray[np.uint64]] = np.zeros(ring_layout.FIXED_WORDS, np.uint64)
"""In place of a closed producer's region: a ring whose buffers have no words, in which no claim succeeds."""
_CLOSED_TEXT: Final = "this producer was closed, or belongs to the parent process; register another"


class Producer:
    """Enqueues frames, for one thread at a time, from :meth:`~txqueue.queue.LockFreeTxQueue.register`.

    Attributes:
        words: uint64[:], the region; with ``index``, what compiled code passes to ``ring.claim`` and ``ring.publish``.
        index: the producer's index in the region.
        closed: whether it is of no more use.
    """

    def __init__(self, words: NDArray[np.uint64]) -> None:
        self.words = words
        self.closed = False
        load(ring.enqueue, compare_and_swap, register)
        self._generation = fork.generation()
        self.index = _register(words)
        self._futex = Futex(words, ring_layout.PARKED)
        self._release = finalize_in_process(self, _release, words, self.index)
        # While a process ends, threads that are daemons go on enqueuing: its death alone frees the producer.
        self._release.atexit = False
        disown_in_children(self)

    def enqueue(self, records: NDArray[np.uint64], payloads: NDArray[np.uint8] = NO_PAYLOADS, token: int = 0) -> None:
        """Copies a frame into the queue: all of it, or nothing where this raises. Never blocks.

        Args:
            records: uint64[n, 8], C-contiguous, 1 to 10,000 of them.
            payloads: uint8[m], the records' payloads one after the other.
            token: int64, comes back with the frame.

        Raises:
            QueueFull: there is no room for the frame now.
            FrameTooLarge: there never will be.
            QueueClosed: the producer was closed.
            TypeError: records or payloads have another type.
            ValueError: records have another shape.
        """
        if fork.generation() != self._generation:  # a thread-local object's finalizer may get here before `disown`
            raise QueueClosed(_CLOSED_TEXT)
        outcome = ring.enqueue(self.words, self.index, records, payloads, token)
        if outcome > 0:
            self.wake_consumer()
        elif outcome < 0:
            raise self._refusal(int(outcome), records, payloads)

    def wake_consumer(self) -> None:
        """Wakes the parked consumer; for callers of ``ring.publish``, where it returns 1."""
        self._futex.wake()

    def close(self) -> None:
        """Lets another thread have this producer. Frames that it enqueued stay enqueued."""
        self._release()
        self.words = _CLOSED
        self.closed = True

    def disown(self) -> None:
        """Makes this object useless, but leaves the producer to its owner: the parent process, after a fork."""
        self._release.detach()
        self.words = _CLOSED
        self.closed = True

    def _refusal(self, outcome: int, records: NDArray[np.uint64], payloads: NDArray[np.uint8]) -> Exception:
        if outcome == ring.NOT_RECORDS:
            return ValueError(f"records must be uint64[n, 8] with n at least 1; got shape {records.shape}")
        if self.closed:
            return QueueClosed(_CLOSED_TEXT)
        if outcome == ring.TOO_LARGE:
            buffer_bytes = int(self.words[ring_layout.BUFFER_WORDS]) * 8
            return FrameTooLarge(
                f"{len(records)} records with {payloads.size} bytes of payloads exceed {BATCH_SIZE} records, "
                f"{FRAME_PAYLOAD_BYTES_MAX} bytes of payloads, or a producer's buffer of {buffer_bytes} bytes; split it"
            )
        assert outcome == ring.FULL
        return QueueFull("the queue has no room for this frame; try again once the consumer has caught up")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _owner_at(words: NDArray[np.uint64], index: int) -> int:
    return int(words[ring_layout.CONTROLS_AT]) + index * ring_layout.CONTROL_WORDS + ring_layout.OWNER


def _release(words: NDArray[np.uint64], index: int) -> None:
    """Makes a producer nobody's. Frames that it published stay published."""
    compare_and_swap(words, _owner_at(words, index), this_process(), 0)


def _register(words: NDArray[np.uint64]) -> int:
    """Registers a producer that is nobody's, or a dead process's; returns its index."""
    owner = this_process()
    alive = {0: False, owner: True}
    capacity = int(words[ring_layout.PRODUCERS])
    for index in range(capacity):
        holder = int(words[_owner_at(words, index)])
        if holder not in alive:
            alive[holder] = is_alive(holder)
        if not alive[holder] and register(words, index, holder, owner):
            return index
    raise ProducersExhausted(
        f"all {capacity} producers are registered, or their last frames are still waiting; "
        "close some, or create the queue with more"
    )
