"""The lock-free transaction queue: frames from many threads and processes to one consumer."""

import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from penstock.contract.limits import BATCH_SIZE
from penstock.host.clock import SYSTEM_CLOCK, Clock
from txqueue.consumer import Consumer
from txqueue.errors import BodyTooSmall, RegionError, RegionForeign
from txqueue.jit.decorators import load
from txqueue.producer import NO_PAYLOADS, Producer
from txqueue.queue_metrics import QueueMetrics, read_metrics
from txqueue.region.process_identity import process_namespace
from txqueue.region.region import Region
from txqueue.ring import counters, dequeue, wait_strategy
from txqueue.ring import layout as ring_layout
from txqueue.ring.layout import BUFFER_BYTES_DEFAULT, PRODUCERS_DEFAULT, SLOTS_DEFAULT, RingLayout
from txqueue.ring.wait_strategy import WaitStrategy

KIND: Final = "ring"
VERSION: Final = 4
"""Of the region's layout, and of how it is used: raise it with either."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one dequeue took from the queue."""

    count: int
    """Records."""
    payload_bytes: int
    frames: int
    """Rows of the frames array that are filled."""


class LockFreeTxQueue:
    """Frames of transactions from many threads and processes to one consumer, in a region that they all map.

    Use :meth:`create` or :meth:`attach`. Frames of one producer keep their order; the order among producers is that of
    publication. What is promised when somebody dies or is stopped (SIGKILL, SIGSTOP) at any instruction:

    - A **producer** never stalls anybody, not for a moment: a frame is published whole, by one compare-and-swap, or was
      never there. A dead process's producer is given to another process once all of its frames were committed. One that
      was only stopped keeps its producer, and goes on.
    - A **consumer** commits a batch by one compare-and-swap, the last thing that :meth:`dequeue_exclusive_batch` does.
    If
      it dies before that instant, the next consumer gets the same frames; if after it, those behind them. Whether it
      did anything with the batch that it committed last, the queue does not know: it must have noted that elsewhere.
    - The claim of a dead consumer's process is taken by whoever calls next. A consumer that is alive but does not
    answer
      keeps its claim until somebody calls :meth:`take_over`. From then on it can commit nothing, and gets
      ConsumerFenced.
    """

    def __init__(self, region: Region, wait: WaitStrategy, clock: Clock) -> None:
        self._region = region
        self._local = threading.local()
        self._totals = np.zeros(counters.TOTALS, np.uint64)
        self._consumer = Consumer(region.words)
        self._wait = wait_strategy.WAITS[wait]
        self._clock = clock

    @classmethod
    def create(
        cls,
        path: Path | None,
        *,
        slots: int = SLOTS_DEFAULT,
        producers: int = PRODUCERS_DEFAULT,
        buffer_bytes: int = BUFFER_BYTES_DEFAULT,
        wait: WaitStrategy = WaitStrategy.PARK,
        clock: Clock = SYSTEM_CLOCK,
    ) -> Self:
        """Makes an empty queue in a new file, or without a name where there is no path.

        Args:
            path: must not exist yet; best in /dev/shm.
            slots: frames that may wait, a power of two. One slot for each producer is kept in reserve.
            producers: that may be registered at once, fewer than slots.
            buffer_bytes: room for the waiting frames of each producer, a power of two. A file gets the space for it
            when
                the producer is first registered; a queue without a name takes memory only for what was used.
            wait: how :meth:`wait` waits.
            clock: the time by which :meth:`wait` ends.

        Raises:
            ValueError: the capacities do not fit together.
            RegionError: the file cannot be made.
        """
        layout = RingLayout(slots, producers, buffer_bytes // 8)
        region = Region.create(
            path, layout.total_words * 8, kind=KIND, version=VERSION, reserved_bytes=layout.buffers_at * 8
        )
        words = region.words
        words[ring_layout.SLOTS] = layout.slots
        words[ring_layout.PRODUCERS] = layout.producers
        words[ring_layout.BUFFER_WORDS] = layout.buffer_words
        words[ring_layout.SLOTS_AT] = layout.slots_at
        words[ring_layout.CONTROLS_AT] = layout.controls_at
        words[ring_layout.BUFFERS_AT] = layout.buffers_at
        words[ring_layout.PROCESS_NAMESPACE] = process_namespace()
        # Positions begin with the second lap, so that every slot holds the word of a lap before.
        words[layout.slots_at : layout.slots_at + slots] = np.arange(slots, dtype=np.uint64) << np.uint64(
            ring_layout.PRODUCER_BITS
        )
        words[ring_layout.TAIL] = slots
        words[ring_layout.HEAD] = slots << ring_layout.EPOCH_BITS
        words[ring_layout.BOUND] = BATCH_SIZE
        region.complete()
        return cls(region, wait, clock)

    @classmethod
    def attach(cls, path: Path, *, wait: WaitStrategy = WaitStrategy.PARK, clock: Clock = SYSTEM_CLOCK) -> Self:
        """Maps a queue that was created elsewhere.

        Args:
            path: the :attr:`path` of the queue where it was created.
            wait: how :meth:`wait` waits.
            clock: the time by which :meth:`wait` ends.

        Raises:
            RegionForeign: the file is something else, or its creator sees other process ids.
            RegionVersionUnsupported: its layout is of another version.
            RegionTruncated: it is shorter than it says, or its creator has not completed it.
            RegionError: it cannot be opened.
        """
        region = Region.attach(path, kind=KIND, version=VERSION)
        try:
            _check(region)
        except RegionError:
            region.close()
            raise
        return cls(region, wait, clock)

    @property
    def words(self) -> NDArray[np.uint64]:
        """uint64[:], the whole region: what compiled code passes to the kernels."""
        return self._region.words

    @property
    def path(self) -> Path:
        """Where other processes attach."""
        return self._region.path

    def register(self) -> Producer:
        """Registers a producer, for one thread at a time.

        Raises:
            ProducersExhausted: all are taken.
            RegionError: the file system has no space for its frames.
        """
        words = self._region.words
        producer = Producer(words)
        buffer_bytes = int(words[ring_layout.BUFFER_WORDS]) * 8
        try:
            self._region.reserve(int(words[ring_layout.BUFFERS_AT]) * 8 + producer.index * buffer_bytes, buffer_bytes)
        except RegionError:
            producer.close()
            raise
        return producer

    def enqueue(self, records: NDArray[np.uint64], payloads: NDArray[np.uint8] = NO_PAYLOADS, token: int = 0) -> None:
        """As :meth:`Producer.enqueue`; the calling thread registers a producer at its first call, and keeps it.

        Raises:
            ProducersExhausted: no producer is free for this thread.
            QueueFull: there is no room for the frame now.
            FrameTooLarge: there never will be.
            RegionError: the queue was closed.
            TypeError: records or payloads have another type.
            ValueError: records have another shape.
        """
        producer: Producer | None = getattr(self._local, "producer", None)
        if producer is None or producer.closed:
            producer = self._local.producer = self.register()
        producer.enqueue(records, payloads, token)

    def dequeue_exclusive_batch(
        self, body: NDArray[np.uint8], frames: NDArray[np.uint64], limit: int | None = None
    ) -> Batch:
        """Takes the oldest frames and commits them: whole frames, as many as fit the limits, at least one if any waits.

        The first call claims the queue for this consumer, until the queue is closed or the process ends.

        Args:
            body: uint8[:], receives ``count * 64`` bytes of records and directly behind them the payloads, both in
                the order of the frames.
            frames: uint64[:, 4], receives (token, first record, count, payload bytes) of each frame.
            limit: records at most; never more than the batch bound, nor payloads over 4 MiB.

        Raises:
            ConsumerBusy: another consumer, which lives, has the claim; or another call is under way.
            ConsumerFenced: another consumer has taken over. Nothing was committed; body and frames hold nothing.
            BodyTooSmall: the first frame does not fit; it stays in the queue.
            ValueError: frames has another shape.
        """
        if frames.shape[0] == 0 or frames.shape[1] != 4:
            raise ValueError(f"frames must be uint64[n, 4] with n at least 1; got shape {frames.shape}")
        if limit is None:
            limit = BATCH_SIZE
        with self._consumer.exclusive:
            while True:
                taken, count, payload_bytes = dequeue.dequeue(
                    self._region.words, self._consumer.state, body, frames, limit
                )
                if taken != dequeue.FENCED:
                    break
                self._consumer.check()
        if taken == dequeue.BODY_TOO_SMALL:
            needed = int(count) * 64 + int(payload_bytes)
            raise BodyTooSmall(f"the next frame has {needed} bytes, body only {body.size}; pass a larger one")
        return Batch(int(count), int(payload_bytes), int(taken))

    def take_over(self) -> None:
        """Becomes the consumer even where another one lives: one that is stopped, or hangs, and is to be replaced.

        From then on that one is fenced. Frames that it took without committing them are taken again; others are not.

        Raises:
            ConsumerBusy: another consumer claimed at the same moment, or a thread is inside this very queue.
        """
        with self._consumer.exclusive:
            self._consumer.claim(by_force=True)

    def wait(self, timeout_s: float) -> bool:
        """Blocks until a frame waits, :meth:`wake` is called, or the time is over. For the consumer only.

        Returns:
            Whether a frame waits.

        Raises:
            ConsumerBusy: another consumer, which lives, has the claim.
            ConsumerFenced: another consumer has taken over.
            RegionError: the queue was closed.
        """
        words, consumer = self._region.words, self._consumer
        found = consumer.poll(wait_strategy.SPINS)
        if found == wait_strategy.EMPTY:
            consumer.check()
            words[ring_layout.WAITS] += np.uint64(1)
            found = self._wait(consumer, timeout_s, self._clock)
            if found == wait_strategy.EMPTY:
                consumer.check()
        return found == wait_strategy.READY

    def wake(self) -> None:
        """Makes the consumer's wait return, the present one or else the next. From any thread or process."""
        self._consumer.interrupt()

    def get_queue_metrics(self) -> QueueMetrics:
        """Reads the counters, at no cost to producers and consumer. Any process may."""
        return read_metrics(self._region.words)

    def rebalance_if_needed(self) -> int:
        """Adapts the batch bound to what arrives and waits; the consumer calls it once per batch.

        While the queue is idle the bound is small, so that the first frames of a burst leave at once, in a small batch;
        under load it is 10,000.

        Returns:
            The bound, in records.
        """
        load(counters.rebalance)
        return int(counters.rebalance(self._region.words, self._consumer.state, self._totals))

    def close(self) -> None:
        """Lets go of the region; its file stays. Producers registered here remain usable until they are closed."""
        producer = getattr(self._local, "producer", None)
        if producer is not None:
            producer.close()
        self._consumer.resign()
        self._region.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check(region: Region) -> None:
    """Refuses a region that this process could not use safely.

    Its capacities must fit its size, as compiled code would follow them out of bounds; and its creator must see the
    process ids that this process sees.

    Raises:
        RegionForeign: it is such a region.
    """
    words = region.words
    try:
        layout = RingLayout(
            *(int(words[at]) for at in (ring_layout.SLOTS, ring_layout.PRODUCERS, ring_layout.BUFFER_WORDS))
        )
        stated = tuple(int(words[at]) for at in (ring_layout.SLOTS_AT, ring_layout.CONTROLS_AT, ring_layout.BUFFERS_AT))
        fits = stated == (layout.slots_at, layout.controls_at, layout.buffers_at) and layout.total_words == words.size
    except (ValueError, IndexError):
        fits = False
    if not fits:
        raise RegionForeign(f"{region.path} says things about its capacities that cannot be; remove it and create anew")
    if int(words[ring_layout.PROCESS_NAMESPACE]) != process_namespace():
        raise RegionForeign(
            f"{region.path} was created where processes have other ids, as in another container, so that the living "
            "would be taken for dead; let all that share it share a PID namespace"
        )
