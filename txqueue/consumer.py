"""A consumer: the exclusive right to take batches from a ring, and to commit them.

A claim changes two words, so it takes two steps. First CONSUMER gets the process's identity and the next epoch; then
HEAD gets that epoch, which fences the consumer before. A claimer may die or stop between the two. So whoever claims
next first raises HEAD's epoch to that of the claim it found, and only then replaces that claim. HEAD is therefore at
most one epoch behind CONSUMER; and the last consumer to claim either holds the ring already, or will once anybody takes
a further step. As the identity stands beside the epoch in one word, nobody takes a claim for an older one of the same
process: a fenced consumer that resigns leaves its successor's claim alone. ``tests/models/ring/model/claim.pml`` is the
model.
"""

from types import TracebackType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from txqueue.errors import ConsumerBusy, ConsumerFenced
from txqueue.jit.compare_and_swap import compare_and_swap
from txqueue.jit.decorators import load
from txqueue.region.fork import disown_in_children, finalize_in_process
from txqueue.region.futex import Futex, yield_processor
from txqueue.region.process_identity import is_alive, this_process
from txqueue.ring import consumer_state, layout, polling
from txqueue.ring.dequeue import dequeue

_FENCED: Final = "another consumer took over this queue: what is under way here is not committed; stop consuming"


class _Exclusive:
    """Lets one thread at a time use a consumer's state; a second one is refused, not kept waiting.

    Popping from a list is one step for the interpreter: no lock is needed.
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
    """Holds, or does not hold, the consumer's claim on a ring; polls and sleeps for its wait strategy.

    Attributes:
        state: uint64[:], what compiled code passes to ``dequeue``; ``consumer_state.py`` says what it holds.
        exclusive: to be entered around whatever changes ``state``.
    """

    def __init__(self, words: NDArray[np.uint64]) -> None:
        self._words = words
        self._futex = Futex(words, layout.PARKED)
        self.exclusive = _Exclusive()
        self.state = consumer_state.make(int(words[layout.PRODUCERS]))
        self.state[consumer_state.INTERRUPTS_SEEN] = words[layout.INTERRUPTS]
        self._resign = finalize_in_process(self, _resign, words, self.state)
        disown_in_children(self)
        load(dequeue, polling.poll, compare_and_swap)

    @property
    def has_claimed(self) -> bool:
        """Whether it ever claimed; it may have been fenced since."""
        return int(self.state[consumer_state.EPOCH]) != consumer_state.NO_EPOCH

    def check(self) -> None:
        """Makes sure that this is the consumer, by claiming where it never did.

        Raises:
            ConsumerBusy: another one is, and lives.
            ConsumerFenced: another one has taken over from this.
        """
        if not self.has_claimed:
            self.claim(by_force=False)
        elif not _holds(self._words, self.state):
            raise ConsumerFenced(_FENCED)

    def claim(self, *, by_force: bool) -> None:
        """Becomes the consumer. Frames that the last one took without committing them are taken again; others are not.

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
        if not compare_and_swap(words, layout.CONSUMER, claim, this_process() << layout.EPOCH_BITS | epoch):
            raise ConsumerBusy("another consumer claimed at the same time; try again if it dies")
        self.state[consumer_state.CURSORS :] = 0
        self.state[consumer_state.EPOCH] = epoch
        _raise_epoch(words, epoch)

    def resign(self) -> None:
        """Lets another consumer claim."""
        self._resign()

    def disown(self) -> None:
        """Leaves the claim to its owner: the parent process, after a fork."""
        self._resign.detach()
        self.exclusive = _Exclusive()
        self.state[consumer_state.EPOCH] = consumer_state.NO_EPOCH
        self.state[consumer_state.PARKED_MARK] = layout.AWAKE  # the mark is the parent's, which may sleep by it
        self._resign = finalize_in_process(self, _resign, self._words, self.state)

    def poll(self, rounds: int) -> int:
        """See :class:`~txqueue.ring.wait_strategy.Pollable`."""
        return int(polling.poll(self._words, self.state, rounds, 0))

    def park(self, timeout_s: float) -> None:
        """See :class:`~txqueue.ring.wait_strategy.Pollable`."""
        if polling.poll(self._words, self.state, 0, 1) == polling.PARKED:
            self._futex.wait(int(self.state[consumer_state.PARKED_MARK]), timeout_s)

    def yield_processor(self) -> None:
        """See :class:`~txqueue.ring.wait_strategy.Pollable`."""
        yield_processor()

    def interrupt(self) -> None:
        """Makes the consumer's wait return, whichever process it is in: the present one, or else the next."""
        words = self._words
        while not compare_and_swap(words, layout.INTERRUPTS, seen := int(words[layout.INTERRUPTS]), seen + 1):
            pass
        # Until it succeeds: a mark that was not seen belongs to a consumer that may not have seen the interrupt either.
        while not compare_and_swap(words, layout.PARKED, int(words[layout.PARKED]), layout.AWAKE):
            pass
        self._futex.wake()


def _raise_epoch(words: NDArray[np.uint64], epoch: int) -> None:
    """Lets the consumer with this epoch move HEAD, unless it or one after it may already."""
    while True:
        seen = int(words[layout.HEAD])
        missing = (epoch - seen) & layout.EPOCH_MASK
        if missing == 0 or missing > layout.EPOCH_MASK // 2:
            break
        compare_and_swap(words, layout.HEAD, seen, seen & ~layout.EPOCH_MASK | epoch)


def _holds(words: NDArray[np.uint64], state: NDArray[np.uint64]) -> bool:
    return int(words[layout.HEAD]) & layout.EPOCH_MASK == int(state[consumer_state.EPOCH])


def _resign(words: NDArray[np.uint64], state: NDArray[np.uint64]) -> None:
    epoch = int(state[consumer_state.EPOCH])
    if epoch != consumer_state.NO_EPOCH:
        compare_and_swap(words, layout.CONSUMER, this_process() << layout.EPOCH_BITS | epoch, epoch)
