"""A node's disk: files in memory beneath the real log, and what of them would survive a power cut.

It stands where the log's :class:`~replication.log.disk.Disk` stands. Writes go through to files of a memory file
system; of each write that no sync covers what stood there before is kept, so that a crash can take it back. The disk
reads along and knows, without asking the log, which blocks stand on it durably: that is what an acknowledgement
promises.
"""

import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import numpy as np

from replication.log.ballot import NO_BALLOT, Ballot
from replication.log.block import BLOCK_MAGIC, PAGE_BYTES, Block
from replication.log.disk import Buffer, Disk
from replication.log.errors import BlockInvalid
from simulation.world.crash import Crash

SECTOR_BYTES: Final = 512
_PAGE_WORDS: Final = PAGE_BYTES // 4
_MAGIC: Final = BLOCK_MAGIC.to_bytes(4, "little")


class PowerCut(BaseException):
    """The node is off. Nothing in it may catch this."""


@dataclass(slots=True)
class _Write:
    """A write that no sync covers."""

    offset: int
    before: bytes


@dataclass(slots=True)
class _Copy:
    """A block at a place of a file."""

    ballot: Ballot
    index: int
    hash: bytes
    durable: bool = False
    rotten: bool = False
    """Whether a bit of it flipped, which its node does not know yet."""


class VirtualDisk(Disk):
    """The disk of one node, for all its processes one after the other."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory: Final = directory
        """Where the node's files are."""
        self.full = False
        """Whether there is no room for new files."""
        self.steps_left: int | None = None
        """Changes until the power is cut in the middle of what the node does; ``None``: it is not."""
        self._paths: dict[int, Path] = {}
        self._unsynced: dict[Path, list[_Write]] = {}
        self._copies: dict[Path, dict[int, _Copy]] = {}
        self._durable: Counter[tuple[int, bytes]] = Counter()
        self._rotten: set[tuple[int, bytes]] = set()
        self._wiped: set[tuple[int, bytes]] = set()

    def holds(self, index: int, block_hash: bytes) -> bool:
        """Tell whether this block stands here so that a power cut leaves it."""
        return self._durable[index, block_hash] > 0

    def held(self, index: int, block_hash: bytes) -> bool:
        """Tell whether this block stands here durably, or did until the disk was replaced or a bit flipped."""
        return self.kept(index, block_hash) or (index, block_hash) in self._wiped

    def kept(self, index: int, block_hash: bytes) -> bool:
        """Tell whether this block stands here durably, or did until a bit flipped."""
        return self._durable[index, block_hash] > 0 or (index, block_hash) in self._rotten

    def tip(self) -> tuple[Ballot, int]:
        """Return ballot and index of the last block that stands here durably, for all that its node knows."""
        copies = (copy for path in self._copies.values() for copy in path.values() if copy.durable)
        last = max(copies, key=lambda copy: copy.index, default=None)
        return (last.ballot, last.index) if last else (NO_BALLOT, 0)

    def hold_spares(self) -> None:
        """Keep none: there is no lack of descriptors."""

    def release_spares(self) -> None:
        """Keep none."""

    def open(self, path: Path, flags: int) -> int:
        """See `Disk.open`."""
        if flags & os.O_CREAT:
            self._step()
        fd = os.open(path, flags | os.O_CLOEXEC, 0o640)
        self._paths[fd] = path
        if flags & os.O_TRUNC:
            self._forget(path)
        return fd

    def close(self, fd: int) -> None:
        """See `Disk.close`."""
        del self._paths[fd]
        os.close(fd)

    def allocate(self, fd: int, byte_count: int) -> None:
        """See `Disk.allocate`."""
        self._step()
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.ftruncate(fd, max(byte_count, os.fstat(fd).st_size))

    def write(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        """See `Disk.write`."""
        self._step()
        path = self._paths[fd]
        unsynced = self._unsynced.setdefault(path, [])
        for buffer in buffers:
            before = os.pread(fd, buffer.size, offset)
            unsynced.append(_Write(offset, before.ljust(buffer.size, b"\0")))
            os.pwrite(fd, buffer.data, offset)
            self._note_blocks(path, buffer, offset)
            offset += buffer.size

    def sync(self, fd: int) -> None:
        """See `Disk.sync`."""
        self._step()
        path = self._paths[fd]
        self._unsynced.pop(path, None)
        self._make_durable(self._copies.get(path, {}))

    def rename(self, source: Path, target: Path) -> None:
        """See `Disk.rename`."""
        self._step()
        source.rename(target)
        self._forget(target)
        for known in (self._unsynced, self._copies):
            if source in known:
                known[target] = known.pop(source)  # type: ignore[assignment]
        self._paths = {fd: target if path == source else path for fd, path in self._paths.items()}

    def remove(self, path: Path) -> None:
        """See `Disk.remove`."""
        self._step()
        path.unlink()
        self._forget(path)

    def crash(self, how: Crash, rng: Random) -> None:
        """Let go of all files, and keep of what was not synced what this crash leaves."""
        self.steps_left = None
        for fd in self._paths:
            os.close(fd)
        self._paths.clear()
        if how is Crash.PROCESS:
            return
        for path, writes in self._unsynced.items():
            if path.exists():
                with path.open("r+b") as file:
                    _take_back(file.fileno(), writes, how, rng)
        self._unsynced.clear()
        for path, copies in self._copies.items():
            for offset in [offset for offset, copy in copies.items() if not copy.durable]:
                if not _is_whole(path, offset):
                    del copies[offset]

    def write_back(self) -> None:
        """Make everything durable that was written, as the kernel does after some seconds without being asked."""
        self._unsynced.clear()
        for copies in self._copies.values():
            self._make_durable(copies)

    def rot(self, last_index: int, rng: Random) -> int:
        """Flip a bit of a block up to ``last_index`` that stands here durably; return which, 0 where there is none."""
        places = [
            (path, offset)
            for path, copies in self._copies.items()
            for offset, copy in copies.items()
            if copy.durable and not copy.rotten and copy.index <= last_index and path.suffix == ".segment"
        ]
        if not places:
            return 0
        path, offset = rng.choice(places)
        position = offset + rng.randrange(256)
        with path.open("r+b") as file:
            (byte,) = os.pread(file.fileno(), 1, position)
            os.pwrite(file.fileno(), bytes([byte ^ 1 << rng.randrange(8)]), position)
        copy = self._copies[path][offset]
        self._drop_copy(copy)
        copy.rotten = True
        self._rotten.add((copy.index, copy.hash))
        return copy.index

    def count_as_lost(self, first_index: int) -> None:
        """Take note that the blocks from an index on are given up, as one of them is damaged; see `held`."""
        self._wiped.update(block for block, count in self._durable.items() if count and block[0] >= first_index)

    def wipe(self) -> None:
        """Replace the disk by an empty one, while nobody has a file open."""
        assert not self._paths
        shutil.rmtree(self.directory, ignore_errors=True)
        self._unsynced.clear()
        self._copies.clear()
        self._wiped.update(block for block, count in self._durable.items() if count)
        self._wiped |= self._rotten
        self._rotten.clear()
        self._durable.clear()

    def _step(self) -> None:
        if self.steps_left is not None:
            if self.steps_left == 0:
                raise PowerCut
            self.steps_left -= 1

    def _forget(self, path: Path) -> None:
        """Take note that what stood in a file is gone."""
        self._unsynced.pop(path, None)
        for copy in self._copies.pop(path, {}).values():
            self._drop_copy(copy)

    def _drop_copy(self, copy: _Copy) -> None:
        if copy.durable and not copy.rotten:
            self._durable[copy.index, copy.hash] -= 1

    def _make_durable(self, copies: dict[int, _Copy]) -> None:
        for copy in copies.values():
            if not copy.durable:
                copy.durable = True
                self._durable[copy.index, copy.hash] += 1

    def _note_blocks(self, path: Path, buffer: Buffer, offset: int) -> None:
        copies = self._copies.setdefault(path, {})
        if copies:
            for start in range(offset, offset + buffer.size, PAGE_BYTES):
                if start in copies:
                    self._drop_copy(copies.pop(start))
        for page in _pages_with_blocks(buffer):
            block = Block.parse_header(buffer[page * PAGE_BYTES :])
            copies[offset + page * PAGE_BYTES] = _Copy(block.ballot, block.index, block.hash)


def _pages_with_blocks(buffer: Buffer) -> list[int]:
    if buffer.size == PAGE_BYTES:
        return [0] if buffer[:4].tobytes() == _MAGIC else []
    words = buffer[: buffer.size - buffer.size % PAGE_BYTES].view(np.uint32)[::_PAGE_WORDS]
    return np.flatnonzero(words == BLOCK_MAGIC).tolist()


def _is_whole(path: Path, offset: int) -> bool:
    if not path.exists():
        return False
    try:
        block = Block.parse(np.fromfile(path, np.uint8, offset=offset))
        block.verify()
    except BlockInvalid:
        return False
    return True


def _take_back(fd: int, writes: Sequence[_Write], how: Crash, rng: Random) -> None:
    """Undo, from the last write on, what a crash takes back."""
    sectors = [(number, start) for number, write in enumerate(writes) for start in _sectors(write)]
    is_kept = _survivors(how, rng, writes, sectors)
    for number, start in reversed(sectors):
        write = writes[number]
        place = write.offset + start
        if not is_kept(number, start):
            os.pwrite(fd, write.before[start : start + SECTOR_BYTES], place)
        elif how is Crash.FLIPPED and rng.random() < 0.3:
            (byte,) = os.pread(fd, 1, place + 7)
            os.pwrite(fd, bytes([byte ^ 1 << rng.randrange(8)]), place + 7)


def _sectors(write: _Write) -> Iterator[int]:
    yield from range(0, len(write.before), SECTOR_BYTES)


def _survivors(
    how: Crash, rng: Random, writes: Sequence[_Write], sectors: Sequence[tuple[int, int]]
) -> Callable[[int, int], bool]:
    """Return what tells whether a sector of a write reached the disk."""
    if how is Crash.LOST:
        return lambda _number, _start: False
    if how is Crash.TORN:
        reached = sectors[: rng.randrange(len(sectors) + 1)]
        end = reached[-1] if reached else (-1, 0)
        return lambda number, start: (number, start) <= end
    unit = SECTOR_BYTES * rng.choice([1, 8, 64])  # sectors, pages, and longer stretches get lost together
    share = rng.choice([0.1, 0.5, 0.9, 1.0])
    fates: dict[int, bool] = {}
    return lambda number, start: fates.setdefault((writes[number].offset + start) // unit, rng.random() < share)
