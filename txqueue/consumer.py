"""A consumer: the exclusive right to take batches from a ring, and to hand them on.

A claim takes two words, so two steps: CONSUMER gets the process's name and the next epoch, then HEAD gets that epoch,
which fences the consumer before. A claimer may die or stop between the two. So whoever claims next raises HEAD's epoch
to that of the claim it found, before it replaces that claim: HEAD is one epoch behind CONSUMER at most, and the last
to claim is the one that holds, or that anybody's next step makes hold. As the name stands beside the epoch, nobody
takes a claim for an older one of the same process: a fenced consumer that resigns leaves its successor's alone.
``tests/txqueue/model/claim.pml`` is the model.
"""

from types import TracebackType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from txqueue.errors import ConsumerBusy, ConsumerFenced
from txqueue.jit.decorators import load
from txqueue.region.fork import disown_in_children, finalize_in_process
from txqueue.region.process_identity import is_alive, this_process
from txqueue.ring import layout
from txqueue.ring.dequeue import dequeue
from txqueue.ring.producer_registry import swap
from txqueue.ring.ring_waiting import look

_FENCED: Final = "another consumer took over this queue: what is under way here is not handed on; stop consuming"


class _Turn:
    """Lets one thread at a time use what a consumer keeps to itself; a second one is refused, not kept waiting.

    Popping from a list is one step for the interpreter; no lock is needed.
    """

    __slots__ = ("_free",)

    def __init__(self) -> None:
        self._free = [None]

    def __enter__(self) -> None:
        try:
            self._free.pop()
        except IndexError:
            raise ConsumerBusy("another thread is taking a batch with this queue; keep to one at a time") from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._free.append(None)


class Consumer:
    """Holds, or does not hold, the consumer's claim on a ring.

    Attributes:
        kept: uint64[:], what compiled code passes to ``ring_consumer.dequeue``.
        turn: to be held around whatever changes ``kept``.
    """

    def __init__(self, words: NDArray[np.uint64]) -> None:
        self._words = words
        self.turn = _Turn()
        self.kept = np.zeros(layout.KEPT_PRODUCERS + int(words[layout.PRODUCERS]) * layout.KEPT_WORDS, np.uint64)
        self.kept[layout.KEPT_EPOCH] = layout.NO_EPOCH
        self.kept[layout.KEPT_INTERRUPTS] = words[layout.INTERRUPTS]
        self._resign = finalize_in_process(self, _resign, words, self.kept)
        disown_in_children(self)
        load(dequeue, look, swap)

    @property
    def has_claimed(self) -> bool:
        """Whether it ever claimed; it may have been fenced since."""
        return int(self.kept[layout.KEPT_EPOCH]) != layout.NO_EPOCH

    def check(self) -> None:
        """Makes sure that this is the consumer, by claiming where it never did.

        Raises:
            ConsumerBusy: another one is, and lives.
            ConsumerFenced: another one has taken over from this.
        """
        if not self.has_claimed:
            self.claim(by_force=False)
        elif not _holds(self._words, self.kept):
            raise ConsumerFenced(_FENCED)

    def claim(self, *, by_force: bool) -> None:
        """Becomes the consumer. What the last one had not handed on is taken again; what it had is not.

        Args:
            by_force: also where the last one's process lives.

        Raises:
            ConsumerBusy: another one is, and lives; or another was faster.
        """
        words = self._words
        claim = int(words[layout.CONSUMER])
        holder = claim >> layout.EPOCH_BITS
        if holder and not by_force and is_alive(holder):
            raise ConsumerBusy(
                "another consumer, which lives, holds the claim: close its queue, or call take_over() to fence it"
            )
        # Whoever claimed before may have stopped between its two steps: its epoch first, so that each has its turn.
        _raise_epoch(words, claim & layout.EPOCH_MASK)
        epoch = (claim + 1) & layout.EPOCH_MASK
        if not swap(words, layout.CONSUMER, claim, this_process() << layout.EPOCH_BITS | epoch):
            raise ConsumerBusy("another consumer claimed at the same time; try again if it dies")
        self.kept[layout.KEPT_PRODUCERS :] = 0
        self.kept[layout.KEPT_EPOCH] = epoch
        _raise_epoch(words, epoch)

    def resign(self) -> None:
        """Lets another consumer claim."""
        self._resign()

    def disown(self) -> None:
        """Leaves the claim to its owner: the parent process, after a fork."""
        self._resign.detach()
        self.turn = _Turn()
        self.kept[layout.KEPT_EPOCH] = layout.NO_EPOCH
        self.kept[layout.KEPT_PARKED] = layout.AWAKE  # the mark is that of the parent's thread, which may sleep by it
        self._resign = finalize_in_process(self, _resign, self._words, self.kept)


def _raise_epoch(words: NDArray[np.uint64], epoch: int) -> None:
    """Lets the consumer with this epoch move HEAD, unless it or one after it may already."""
    while True:
        seen = int(words[layout.HEAD])
        missing = (epoch - seen) & layout.EPOCH_MASK
        if missing == 0 or missing > layout.EPOCH_MASK // 2:
            break
        swap(words, layout.HEAD, seen, seen & ~layout.EPOCH_MASK | epoch)


def _holds(words: NDArray[np.uint64], kept: NDArray[np.uint64]) -> bool:
    return int(words[layout.HEAD]) & layout.EPOCH_MASK == int(kept[layout.KEPT_EPOCH])


def _resign(words: NDArray[np.uint64], kept: NDArray[np.uint64]) -> None:
    epoch = int(kept[layout.KEPT_EPOCH])
    if epoch != layout.NO_EPOCH:
        swap(words, layout.CONSUMER, this_process() << layout.EPOCH_BITS | epoch, epoch)
