"""The coordinator: a register of one record for a cluster, changed by compare-and-swap only.

It says which epoch was given out last and to whom, and which nodes make up the cluster. It answers "who tries next";
who leads is decided by the nodes' promises, so a register that is lost, slow, or restored from an old copy cannot make
two leaders of one ballot. That is why the interface has no leases, no locks and no clock.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """What the register holds."""

    version: int
    """Counts changes, from 1. A register that was restored goes back to an earlier one."""
    epoch: int
    """The last epoch that was given out; 0 before the first."""
    candidate: int
    """The node that it was given to; 0 before the first."""
    token: bytes
    """Names the attempt that took the epoch, so that whoever had no answer can find out whether it was taken."""
    generation: int
    """Which membership this is, counted from 1; 0 while there is none."""
    membership: bytes
    """The nodes of the cluster, as their membership encodes itself; of no meaning here."""


@dataclass(frozen=True, slots=True)
class SwapResult:
    """The answer to a compare-and-swap."""

    swapped: bool
    """Whether the record is the wanted one, by this attempt or by an earlier one with the same token."""
    record: ClusterRecord
    """The record as it is now."""


class Coordinator(Protocol):
    """A register that nodes share. Its calls block, within a bound; any thread may make them.

    All raise CoordinatorUnavailable where the register does not answer within that bound.
    """

    def read(self) -> ClusterRecord:
        """Give the record as it is now."""

    def cas_epoch(self, expected: int, epoch: int, candidate: int, token: bytes) -> SwapResult:
        """Give ``epoch`` to ``candidate`` if the last one given out is ``expected``.

        An attempt whose answer was lost is made again with the same ``token``: it succeeds if it had.

        Raises:
            ValueError: ``epoch`` is not above ``expected``.
        """

    def cas_membership(self, expected: int, generation: int, membership: bytes) -> SwapResult:
        """Put a membership of this ``generation`` into the record if the one there is of generation ``expected``.

        Made again with the same membership it succeeds if it had.

        Raises:
            ValueError: ``generation`` is not above ``expected``.
        """

    def watch(self) -> Iterator[ClusterRecord]:
        """Yield the record as it is, then again after each change, until the coordinator is closed.

        Changes that follow each other closely may be seen as one. While the register does not answer nothing is
        yielded. What is yielded may be older than what was yielded before, where the register was restored.
        """

    def close(self) -> None:
        """End watches and let go of the register."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
