"""Buffer leases: shared buffers lent to processes of this host, and taken back when a process ends.

A borrower is watched through a pidfd, which the kernel makes readable when that very process ends, also by SIGKILL. Its
buffers are then back in the pool within one turn of the event loop; a dead process cannot write into them any more.
"""

import asyncio
import contextlib
import errno
import os
import select
from dataclasses import dataclass, field

from pooling.core.object_pool import ObjectPool
from pooling.shared_buffers import SharedBuffer


class BorrowerUnknown(Exception):
    """There is no such process on this host, or in this container."""


class BorrowersTooMany(Exception):
    """The node has no file descriptor left to watch another process with."""


class LeaseUnknown(Exception):
    """The lease has ended, or is another process's."""


@dataclass(slots=True)
class _Borrower:
    pidfd: int
    leases: dict[int, SharedBuffer] = field(default_factory=dict)
    borrowing: int = 0


class BufferLeases:
    """The leases of one pool. Lives in the event loop."""

    def __init__(self, pool: ObjectPool[SharedBuffer]) -> None:
        self._pool = pool
        self._borrowers: dict[int, _Borrower] = {}
        self._next_id = 1

    def __len__(self) -> int:
        return sum(len(borrower.leases) for borrower in self._borrowers.values())

    async def borrow(self, process_id: int, wait_s: float) -> tuple[int, SharedBuffer]:
        """Lend a buffer to a process; returns the lease's id and the buffer.

        Raises:
            BorrowerUnknown: there is no such process.
            BorrowersTooMany: the node has no file descriptor left to watch it with.
            PoolExhausted: no buffer came back within ``wait_s``.
            PoolClosed: the pool was closed.
        """
        borrower = self._watch(process_id)
        borrower.borrowing += 1
        try:
            buffer = await self._pool.borrow_async(wait_s)
            if self._borrowers.get(process_id) is not borrower:
                self._pool.return_object(buffer)
                raise BorrowerUnknown(f"process {process_id} ended while it waited for a buffer")
            lease_id = self._next_id
            self._next_id += 1
            borrower.leases[lease_id] = buffer
            return lease_id, buffer
        finally:
            borrower.borrowing -= 1
            self._forget_if_idle(process_id, borrower)

    def give_back(self, process_id: int, lease_id: int) -> None:
        """End a lease.

        Raises:
            LeaseUnknown: this process has no such lease.
        """
        borrower = self._borrowers.get(process_id)
        buffer = None if borrower is None else borrower.leases.pop(lease_id, None)
        if borrower is None or buffer is None:
            raise LeaseUnknown(
                f"process {process_id} has no lease {lease_id}: it was returned before, or belongs to another process"
            )
        self._pool.return_object(buffer)
        self._forget_if_idle(process_id, borrower)

    def close(self) -> None:
        """End all leases."""
        for process_id in list(self._borrowers):
            self._end(process_id)

    def _watch(self, process_id: int) -> _Borrower:
        borrower = self._borrowers.get(process_id)
        if borrower is not None and _has_ended(borrower.pidfd):  # before the loop saw it; the id may be another's now
            self._end(process_id)
            borrower = None
        if borrower is None:
            try:
                pidfd = os.pidfd_open(process_id)
            except (OSError, OverflowError) as error:
                if isinstance(error, OSError) and error.errno not in (errno.ESRCH, errno.EINVAL):
                    raise BorrowersTooMany(f"the node cannot watch process {process_id}: {error.strerror}") from error
                raise BorrowerUnknown(
                    f"the node sees no process {process_id}: give the process id that it has on the node's host"
                ) from None
            borrower = self._borrowers[process_id] = _Borrower(pidfd)
            asyncio.get_running_loop().add_reader(pidfd, self._end, process_id)
        return borrower

    def _forget_if_idle(self, process_id: int, borrower: _Borrower) -> None:
        if not borrower.leases and not borrower.borrowing and self._borrowers.get(process_id) is borrower:
            self._end(process_id)

    def _end(self, process_id: int) -> None:
        """Take back everything that a process has, and watch it no longer."""
        borrower = self._borrowers.pop(process_id)
        asyncio.get_running_loop().remove_reader(borrower.pidfd)
        with contextlib.suppress(OSError):
            os.close(borrower.pidfd)
        for buffer in borrower.leases.values():
            self._pool.return_object(buffer)


def _has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))
