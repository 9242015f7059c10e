"""The lock-free transaction queue: phase 5 of the pipeline."""

import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from txqueue import ring_consumer, ring_counters, ring_layout
from txqueue.errors import BodyTooSmall, ConsumerBusy
from txqueue.owner import is_alive, own
from txqueue.parking import ParkingWord
from txqueue.producer import NO_PAYLOADS, Producer
from txqueue.record import BATCH_SIZE
from txqueue.region import Region
from txqueue.ring_layout import AREA_BYTES_DEFAULT, PRODUCERS_DEFAULT, SLOTS_DEFAULT, RingLayout

KIND: Final = "ring"
VERSION: Final = 1
"""Of the region's layout, and of how it is used: raise it with either."""

_SPIN_ROUNDS: Final = 200
"""A few microseconds: less than parking and waking cost."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a dequeue took."""

    count: int
    """Records."""
    payload_bytes: int
    frames: int
    """Rows of the frames array that are filled."""


@dataclass(frozen=True)
class QueueMetrics:
    """A queue's counters since it was created. Transactions unless the name says otherwise."""

    enqueued: int
    dequeued: int
    size: int
    frames_enqueued: int
    frames_dequeued: int
    payload_bytes_enqueued: int
    payload_bytes_dequeued: int
    refused: int
    """Frames that found no room."""
    retries: int
    """Publications that another overtook and that were tried again."""
    batches: int
    parks: int
    """How often the consumer went to sleep."""
    batch_bound: int
    """Records that a batch holds at most now."""
    producers: int
    """Registered now."""


class LockFreeTxQueue:
    """Frames of transactions from many threads and processes to one consumer, in a region that they all map.

    Use :meth:`create` or :meth:`attach`. Nobody ever waits for a producer: one that stops or dies at any point harms no
    other. Frames of one producer keep their order; the order among producers is that of publication.
    """

    def __init__(self, region: Region) -> None:
        self._region = region
        self._local = threading.local()
        self._parking = ParkingWord(region.words, ring_layout.PARKED)
        self._totals = np.zeros(ring_counters.TOTALS, np.uint64)

    @classmethod
    def create(
        cls,
        path: Path | None,
        *,
        slots: int = SLOTS_DEFAULT,
        producers: int = PRODUCERS_DEFAULT,
        area_bytes: int = AREA_BYTES_DEFAULT,
    ) -> Self:
        """Makes an empty queue in a new file, or without a name where there is no path.

        Args:
            path: must not exist yet; best in /dev/shm.
            slots: frames that may wait, a power of two. As many as there are producers are kept in reserve.
            producers: that may be registered at once, fewer than slots.
            area_bytes: room for each producer's waiting frames, a power of two; unused room costs nothing.

        Raises:
            ValueError: the capacities do not fit together.
            RegionError: the file cannot be made.
        """
        layout = RingLayout(slots, producers, area_bytes // 8)
        region = Region.create(path, layout.total_words * 8, kind=KIND, version=VERSION)
        words = region.words
        words[ring_layout.SLOTS] = layout.slots
        words[ring_layout.PRODUCERS] = layout.producers
        words[ring_layout.AREA_WORDS] = layout.area_words
        words[ring_layout.SLOTS_AT] = layout.slots_at
        words[ring_layout.CONTROLS_AT] = layout.controls_at
        words[ring_layout.AREAS_AT] = layout.areas_at
        # Positions begin with the second lap, so that every slot holds the word of a lap before.
        words[layout.slots_at : layout.slots_at + slots] = np.arange(slots, dtype=np.uint64) << np.uint64(
            ring_layout.PRODUCER_BITS
        )
        words[ring_layout.TAIL] = words[ring_layout.HEAD] = slots
        words[ring_layout.BOUND] = BATCH_SIZE
        region.complete()
        return cls(region)

    @classmethod
    def attach(cls, path: Path) -> Self:
        """Maps a queue that was created elsewhere.

        Raises:
            RegionForeign, RegionVersionUnsupported, RegionTruncated, RegionError: the file is not one that can be used.
        """
        return cls(Region.attach(path, kind=KIND, version=VERSION))

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
        """
        return Producer(self._region.words)

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

        A frame is handed on when this returns. Where the process dies in here, the next consumer takes the same frames
        once more or, from the moment that the batch was complete, those after them.

        Args:
            body: uint8[:], receives ``count * 64`` bytes of records and directly behind them the payloads, both in
                the order of the frames.
            frames: uint64[:, 4], receives (token, first record, count, payload bytes) of each frame.
            limit: records at most; never more than the batch bound, nor payloads over 4 MiB.

        Raises:
            ConsumerBusy: another call is under way.
            BodyTooSmall: the first frame does not fit; it stays in the queue.
        """
        if frames.shape[0] == 0 or frames.shape[1] != 4:
            raise ValueError(f"frames must be uint64[n, 4] with n at least 1; got shape {frames.shape}")
        words = self._region.words
        if limit is None:
            limit = BATCH_SIZE
        taken, count, payload_bytes = ring_consumer.dequeue(words, own(), body, frames, limit)
        if taken == ring_consumer.BUSY:
            holder = int(words[ring_layout.CONSUMER])
            if holder == 0 or is_alive(holder) or not ring_consumer.take_over(words, holder, own()):
                raise ConsumerBusy("another thread or process is taking a batch; keep to one consumer at a time")
            return self.dequeue_exclusive_batch(body, frames, limit)
        if taken == ring_consumer.BODY_TOO_SMALL:
            needed = int(count) * 64 + int(payload_bytes)
            raise BodyTooSmall(f"the next frame has {needed} bytes, body only {body.size}; pass a larger one")
        return Batch(int(count), int(payload_bytes), int(taken))

    def wait(self, timeout_s: float) -> bool:
        """Blocks until a frame waits, :meth:`wake` is called, or the time is over. For the consumer only.

        Returns:
            Whether a frame waits.
        """
        words = self._region.words
        if ring_consumer.spin(words, _SPIN_ROUNDS):
            return True
        if ring_consumer.park(words):
            self._parking.wait(1, timeout_s)
            ring_consumer.unpark(words)
        return bool(ring_consumer.spin(words, 0))

    def wake(self) -> None:
        """Makes the consumer's wait return, the present one or else the next. From any thread or process."""
        ring_consumer.interrupt(self._region.words)
        self._parking.wake()

    def get_queue_metrics(self) -> QueueMetrics:
        """Reads the counters, at no cost to producers and consumer. Any process may."""
        words = self._region.words
        totals = np.zeros(ring_counters.TOTALS, np.uint64)
        ring_counters.total(words, totals)
        total = totals.tolist()
        return QueueMetrics(
            enqueued=total[ring_counters.ENQUEUED],
            dequeued=total[ring_counters.DEQUEUED],
            size=total[ring_counters.ENQUEUED] - total[ring_counters.DEQUEUED],
            frames_enqueued=total[ring_counters.FRAMES_ENQUEUED],
            frames_dequeued=total[ring_counters.FRAMES_DEQUEUED],
            payload_bytes_enqueued=total[ring_counters.PAYLOAD_BYTES_ENQUEUED],
            payload_bytes_dequeued=total[ring_counters.PAYLOAD_BYTES_DEQUEUED],
            refused=total[ring_counters.REFUSED],
            retries=total[ring_counters.RETRIES],
            batches=int(words[ring_layout.BATCHES]),
            parks=int(words[ring_layout.PARKS]),
            batch_bound=int(words[ring_layout.BOUND]),
            producers=total[ring_counters.PRODUCERS],
        )

    def rebalance_if_needed(self) -> int:
        """Adapts the batch bound to what arrives and waits; the consumer calls it once per batch.

        An idle queue's bound is small, so that a burst is passed on in a small batch at once; under load it is 10,000.

        Returns:
            The bound, in records.
        """
        return int(ring_counters.rebalance(self._region.words, self._totals))

    def close(self) -> None:
        """Lets go of the region; its file stays. Producers registered here remain usable until they are closed."""
        producer = getattr(self._local, "producer", None)
        if producer is not None:
            producer.close()
        self._region.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
