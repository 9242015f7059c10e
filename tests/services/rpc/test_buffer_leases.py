"""BufferLeases end with their borrower, and with that one alone."""

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pooling.core.factory import CallableFactory
from pooling.core.object_pool import ObjectPool
from pooling.core.pool_options import PoolOptions
from pooling.shared_buffers import SharedBuffer
from services.rpc.buffer_leases import BorrowersTooMany, BufferLeases

BORROWER = [sys.executable, "-c", "import sys; sys.stdin.read()"]


@pytest.fixture
def processes() -> Iterator[list["subprocess.Popen[bytes]"]]:
    started = [subprocess.Popen(BORROWER, stdin=subprocess.PIPE) for _ in range(2)]
    yield started
    for process in started:
        process.kill()
        process.communicate()


def leases_of(count: int) -> tuple[BufferLeases, ObjectPool[SharedBuffer]]:
    handles = iter(range(count))
    factory = CallableFactory(lambda: SharedBuffer(next(handles), Path("unused"), 0, 4096))
    pool = ObjectPool("buffers", factory, PoolOptions(max_total=count))
    return BufferLeases(pool), pool


async def test_a_process_does_not_lose_its_lease_with_the_one_that_had_its_id_before(
    processes: list["subprocess.Popen[bytes]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, now = processes
    leases, pool = leases_of(2)
    await leases.borrow(before.pid, 0)
    before.kill()
    before.communicate()  # the event loop has had no turn since
    pidfd_open = os.pidfd_open
    monkeypatch.setattr(os, "pidfd_open", lambda _: pidfd_open(now.pid))  # as if `now` had been given the id
    lease_id, _ = await leases.borrow(before.pid, 0)
    for _ in range(10):  # turns in which the loop would see the end of the one before
        await asyncio.sleep(0)
    assert (len(leases), pool.in_use) == (1, 1)
    leases.give_back(before.pid, lease_id)
    assert (len(leases), pool.in_use) == (0, 0)


async def test_a_node_out_of_files_does_not_call_its_borrowers_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    leases, pool = leases_of(1)
    monkeypatch.setattr(os, "pidfd_open", fail)
    with pytest.raises(BorrowersTooMany, match="Too many open files"):
        await leases.borrow(os.getpid(), 0)
    assert (len(leases), pool.in_use) == (0, 0)
