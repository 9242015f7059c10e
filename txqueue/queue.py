"""The lock-free transaction queue: phase 5 of the pipeline."""

import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from penstock.contract.limits import BATCH_SIZE
from txqueue.consumer import Consumer
from txqueue.errors import BodyTooSmall, RegionError, RegionForeign
from txqueue.jit.decorators import load
from txqueue.producer import NO_PAYLOADS, Producer
from txqueue.queue_metrics import QueueMetrics, read_metrics
from txqueue.region.process_identity import process_namespace
from txqueue.region.region import Region
from txqueue.ring import counters as ring_counters
from txqueue.ring import dequeue as ring_consumer
from txqueue.ring import layout as ring_layout
from txqueue.ring.layout import AREA_BYTES_DEFAULT, PRODUCERS_DEFAULT, SLOTS_DEFAULT, RingLayout
from txqueue.ring.producer_registry import swap
from txqueue.ring.waiting import Waiting
from txqueue.wait_strategy import WaitStrategy

KIND: Final = "ring"
VERSION: Final = 4
"""Of the region's layout, and of how it is used: raise it with either."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a dequeue took."""

    count: int
    """Records."""
    payload_bytes: int
    frames: int
    """Rows of the frames array that are filled."""


class LockFreeTxQueue:
    """Frames of transactions from many threads and processes to one consumer, in a region that they all map.

    Use :meth:`create` or :meth:`attach`. Frames of one producer keep their order; the order among producers is that of
    publication. What is promised when somebody dies or is stopped (SIGKILL, SIGSTOP) at any instruction:

    - A **producer** never stalls anybody, for no time at all: a frame is published, whole, by one compare-and-swap, or
      was never there. Its place is given to another process once it is dead and its frames were taken; a producer that
      was only stopped keeps its place, and goes on.
    - A **consumer** hands a batch on by one compare-and-swap, the last thing that :meth:`dequeue_exclusive_batch` does.
      If it dies before that instant, the next consumer gets the same frames; if after it, those behind them. Whether
      the dead one did anything with a batch that it was handed is for it to have made known elsewhere.
    - The claim of a dead consumer's process is taken by whoever calls next. One that is alive but does not answer keeps
      it until somebody calls :meth:`take_over`; from then on it can hand on nothing, and gets ConsumerFenced.
    """

    def __init__(self, region: Region, wait: WaitStrategy) -> None:
        self._region = region
        self._local = threading.local()
        self._totals = np.zeros(ring_counters.TOTALS, np.uint64)
        self._consumer = Consumer(region.words)
        self._waiting = Waiting(region.words, self._consumer, wait)

    @classmethod
    def create(
        cls,
        path: Path | None,
        *,
        slots: int = SLOTS_DEFAULT,
        producers: int = PRODUCERS_DEFAULT,
        area_bytes: int = AREA_BYTES_DEFAULT,
        wait: WaitStrategy = WaitStrategy.PARK,
    ) -> Self:
        """Makes an empty queue in a new file, or without a name where there is no path.

        Args:
            path: must not exist yet; best in /dev/shm.
            slots: frames that may wait, a power of two. As many as there are producers are kept in reserve.
            producers: that may be registered at once, fewer than slots.
            area_bytes: room for each producer's waiting frames, a power of two. A file gets the space for it when the
                producer is registered first; what has no name takes memory only for what was used.
            wait: how :meth:`wait` waits.

        Raises:
            ValueError: the capacities do not fit together.
            RegionError: the file cannot be made.
        """
        layout = RingLayout(slots, producers, area_bytes // 8)
        region = Region.create(
            path, layout.total_words * 8, kind=KIND, version=VERSION, reserved_bytes=layout.areas_at * 8
        )
        words = region.words
        words[ring_layout.SLOTS] = layout.slots
        words[ring_layout.PRODUCERS] = layout.producers
        words[ring_layout.AREA_WORDS] = layout.area_words
        words[ring_layout.SLOTS_AT] = layout.slots_at
        words[ring_layout.CONTROLS_AT] = layout.controls_at
        words[ring_layout.AREAS_AT] = layout.areas_at
        words[ring_layout.PROCESS_NAMESPACE] = process_namespace()
        # Positions begin with the second lap, so that every slot holds the word of a lap before.
        words[layout.slots_at : layout.slots_at + slots] = np.arange(slots, dtype=np.uint64) << np.uint64(
            ring_layout.PRODUCER_BITS
        )
        words[ring_layout.TAIL] = slots
        words[ring_layout.HEAD] = slots << ring_layout.EPOCH_BITS
        words[ring_layout.BOUND] = BATCH_SIZE
        region.complete()
        return cls(region, wait)

    @classmethod
    def attach(cls, path: Path, *, wait: WaitStrategy = WaitStrategy.PARK) -> Self:
        """Maps a queue that was created elsewhere.

        Args:
            path: as :attr:`path` says where it was created.
            wait: how :meth:`wait` waits.

        Raises:
            RegionForeign, RegionVersionUnsupported, RegionTruncated, RegionError: the file is not one that can be used.
        """
        region = Region.attach(path, kind=KIND, version=VERSION)
        try:
            _check(region)
        except RegionError:
            region.close()
            raise
        return cls(region, wait)

    @property
    def words(self) -> NDArray[np.uint64]:
        """uint64[:], the whole region: what compiled code passes to the kernels."""
        return self._region.words

    @property
    def path(self) -> Path:
        """Where other processes attach."""
        return self._region.path

    def register(self) -> Producer:
        """Makes a producer, for one thread at a time.

        Raises:
            ProducersExhausted: all are taken.
            RegionError: the file system has no space for its frames.
        """
        words = self._region.words
        producer = Producer(words)
        area_bytes = int(words[ring_layout.AREA_WORDS]) * 8
        try:
            self._region.reserve(int(words[ring_layout.AREAS_AT]) * 8 + producer.index * area_bytes, area_bytes)
        except RegionError:
            producer.close()
            raise
        return producer

    def enqueue(self, records: NDArray[np.uint64], payloads: NDArray[np.uint8] = NO_PAYLOADS, token: int = 0) -> None:
        """As :meth:`Producer.enqueue`, with a producer that the calling thread gets at its first call and keeps."""
        producer: Producer | None = getattr(self._local, "producer", None)
        if producer is None or producer.closed:
            producer = self._local.producer = self.register()
        producer.enqueue(records, payloads, token)

    def dequeue_exclusive_batch(
        self, body: NDArray[np.uint8], frames: NDArray[np.uint64], limit: int | None = None
    ) -> Batch:
        """Takes the oldest frames, whole ones only, as many as fit the limits; at least one, if there is one.

        The first call claims the consumer's part, until the queue is closed or the process ends.

        Args:
            body: uint8[:], receives ``count * 64`` bytes of records and directly behind them the payloads, both in
                the order of the frames.
            frames: uint64[:, 4], receives (token, first record, count, payload bytes) of each frame.
            limit: records at most; never more than the batch bound, nor payloads over 4 MiB.

        Raises:
            ConsumerBusy: another consumer, which lives, has the claim; or another call is under way.
            ConsumerFenced: another consumer has taken over. Nothing was handed on; body and frames hold nothing.
            BodyTooSmall: the first frame does not fit; it stays in the queue.
        """
        if frames.shape[0] == 0 or frames.shape[1] != 4:
            raise ValueError(f"frames must be uint64[n, 4] with n at least 1; got shape {frames.shape}")
        if limit is None:
            limit = BATCH_SIZE
        with self._consumer.turn:
            while True:
                taken, count, payload_bytes = ring_consumer.dequeue(
                    self._region.words, self._consumer.kept, body, frames, limit
                )
                if taken != ring_consumer.FENCED:
                    break
                self._consumer.check()
        if taken == ring_consumer.BODY_TOO_SMALL:
            needed = int(count) * 64 + int(payload_bytes)
            raise BodyTooSmall(f"the next frame has {needed} bytes, body only {body.size}; pass a larger one")
        return Batch(int(count), int(payload_bytes), int(taken))

    def take_over(self) -> None:
        """Becomes the consumer even where another one lives: one that is stopped, or hangs, and is to be replaced.

        It is fenced from then on. Frames that it had not handed on are taken again; those it had are not.

        Raises:
            ConsumerBusy: another consumer claimed at the same moment, or a thread is inside this very queue.
        """
        with self._consumer.turn:
            self._consumer.claim(by_force=True)

    def wait(self, timeout_s: float) -> bool:
        """Blocks until a frame waits, :meth:`wake` is called, or the time is over. For the consumer only.

        Returns:
            Whether a frame waits.

        Raises:
            ConsumerBusy, ConsumerFenced: as :meth:`dequeue_exclusive_batch`.
        """
        _ = self._region.words
        return self._waiting.wait(timeout_s)

    def wake(self) -> None:
        """Makes the consumer's wait return, the present one or else the next. From any thread or process."""
        words = self._region.words
        while not swap(words, ring_layout.INTERRUPTS, seen := int(words[ring_layout.INTERRUPTS]), seen + 1):
            pass
        # Until it succeeds: a mark that was not seen belongs to a consumer that may not have seen the interrupt either.
        while not swap(words, ring_layout.PARKED, int(words[ring_layout.PARKED]), ring_layout.AWAKE):
            pass
        self._waiting.wake()

    def get_queue_metrics(self) -> QueueMetrics:
        """Reads the counters, at no cost to producers and consumer. Any process may."""
        return read_metrics(self._region.words)

    def rebalance_if_needed(self) -> int:
        """Adapts the batch bound to what arrives and waits; the consumer calls it once per batch.

        An idle queue's bound is small, so that a burst is passed on in a small batch at once; under load it is 10,000.

        Returns:
            The bound, in records.
        """
        load(ring_counters.rebalance)
        return int(ring_counters.rebalance(self._region.words, self._consumer.kept, self._totals))

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
    """Compares what a region says of its capacities with its size, as a damaged one would be followed out of bounds;
    and how its creator named processes with how this one does.
    """
    words = region.words
    try:
        layout = RingLayout(
            *(int(words[at]) for at in (ring_layout.SLOTS, ring_layout.PRODUCERS, ring_layout.AREA_WORDS))
        )
        stated = tuple(int(words[at]) for at in (ring_layout.SLOTS_AT, ring_layout.CONTROLS_AT, ring_layout.AREAS_AT))
        fits = stated == (layout.slots_at, layout.controls_at, layout.areas_at) and layout.total_words == words.size
    except (ValueError, IndexError):
        fits = False
    if not fits:
        raise RegionForeign(f"{region.path} says things about its capacities that cannot be; remove it and create anew")
    if int(words[ring_layout.PROCESS_NAMESPACE]) != process_namespace():
        raise RegionForeign(
            f"{region.path} was created where processes have other ids, as in another container, so that the living "
            "would be taken for dead; let all that share it share a PID namespace"
        )
