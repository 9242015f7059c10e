"""Disks that fail, and a disk that loses, tears and reorders what was not synced."""

import errno
import os
import random
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from replication.log.disk import Buffer, Disk
from replication.log.write_ahead_log import WriteAheadLog
from tests.fakes import ManualClock, ManualExecutor

SECTOR_BYTES = 512


class PowerCut(BaseException):
    """The machine is off. Nothing in the log may catch it."""


class CrashDisk(Disk):
    """Writes through, and remembers what each sector held when its file was last synced.

    Told to, it cuts the power before one of the steps that change something. The disk beneath is never synced: a test
    does not outlive the machine.
    """

    def __init__(self) -> None:
        super().__init__()
        self._paths: dict[int, Path] = {}
        self._before: dict[Path, dict[int, bytes]] = {}
        self.steps_left: int | None = None
        """Steps until the power is cut; ``None``: it is not."""

    def _step(self) -> None:
        if self.steps_left is not None:
            if self.steps_left == 0:
                raise PowerCut
            self.steps_left -= 1

    def open(self, path: Path, flags: int) -> int:
        if flags & os.O_CREAT:
            self._step()
        fd = super().open(path, flags)
        self._paths[fd] = path
        return fd

    def rename(self, source: Path, target: Path) -> None:
        self._step()
        source.rename(target)
        self._before.pop(target, None)
        if source in self._before:
            self._before[target] = self._before.pop(source)
        self._paths = {fd: target if path == source else path for fd, path in self._paths.items()}

    def remove(self, path: Path) -> None:
        self._step()
        path.unlink()
        self._before.pop(path, None)

    def allocate(self, fd: int, byte_count: int) -> None:
        self._step()
        super().allocate(fd, byte_count)

    def write(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        self._step()
        path = self._paths[fd]
        unsynced = self._before.setdefault(path, {})
        size = sum(buffer.size for buffer in buffers)
        with path.open("rb") as file:
            file.seek(offset)
            old = file.read(size).ljust(size, b"\0")
        for start in range(0, size, SECTOR_BYTES):
            unsynced.setdefault(offset + start, old[start : start + SECTOR_BYTES])
        super().write(fd, buffers, offset)

    def sync(self, fd: int) -> None:
        self._step()
        self._before.pop(self._paths[fd], None)

    def lose(self, rng: random.Random) -> None:
        """Cut the power: of each file's unsynced sectors some are as they were, in no order."""
        for path, unsynced in self._before.items():
            if not path.exists():
                continue
            unit = rng.choice([1, 8, 64])  # sectors, pages, and longer stretches get lost together
            share = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0])
            fates: dict[int, bool] = {}
            with path.open("r+b") as file:
                for offset, old in unsynced.items():
                    if fates.setdefault(offset // SECTOR_BYTES // unit, rng.random() < share):
                        file.seek(offset)
                        file.write(old)
        self._before.clear()


class FailingDisk(Disk):
    """Fails the calls it is told to fail, as long as it is told so, and counts syncs."""

    def __init__(self) -> None:
        super().__init__()
        self.failing: dict[str, int] = {}
        self.syncs = 0
        self.failures = 0

    def _maybe_fail(self, call: str) -> None:
        if call in self.failing:
            self.failures += 1
            raise OSError(self.failing[call], os.strerror(self.failing[call]))

    def open(self, path: Path, flags: int) -> int:
        self._maybe_fail("open")
        return super().open(path, flags)

    def rename(self, source: Path, target: Path) -> None:
        self._maybe_fail("rename")
        super().rename(source, target)

    def remove(self, path: Path) -> None:
        self._maybe_fail("remove")
        super().remove(path)

    def allocate(self, fd: int, byte_count: int) -> None:
        self._maybe_fail("allocate")
        super().allocate(fd, byte_count)

    def write(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        self._maybe_fail("write")
        super().write(fd, buffers, offset)

    def sync(self, fd: int) -> None:
        self._maybe_fail("sync")
        self.syncs += 1
        super().sync(fd)


class TurnClock(ManualClock):
    """Lets background work that waits by it take some turns, and then tells it to end."""

    turns = 0

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        self.advance(timeout_s)
        self.turns -= 1
        return self.turns < 0


def run_background(executor: ManualExecutor, name: str) -> int:
    """Run what waits for its turn under a name, and what that starts; return how often."""
    runs = 0
    while waiting := [parked for parked in executor.parked if parked.name == name and not parked.ended]:
        waiting[0].run()
        runs += 1
    return runs


NO_SPACE = errno.ENOSPC
BROKEN = errno.EIO


def abandon(log: WriteAheadLog) -> None:
    """Let go of a log as a killed process does: nothing is synced, nothing written."""
    log._closed = True
    log._maintenance.stop()
    log._end.close()
    log._watermark.close()
    log._beginning.close()
    if log.promises is not None:
        log.promises.close()
    log._disk.release_spares()
    log._lock.release()


def power_cut_while_opening(open_on: Callable[[Disk], WriteAheadLog], steps: int, rng: random.Random) -> bool:
    """Open a log, with a power cut after so many steps; return whether it was open before."""
    disk = CrashDisk()
    disk.steps_left = steps
    try:
        log = open_on(disk)
    except PowerCut:
        disk.steps_left = None
        disk.lose(rng)
        return False
    disk.steps_left = None
    abandon(log)
    disk.lose(rng)
    return True
