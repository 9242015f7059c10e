"""A region: a file mapped by all processes that share it, seen as one array of 64-bit words.

A plain file is used, because Python 3.11's ``multiprocessing.shared_memory`` removes a segment as soon as any process
that attached to it ends. Put it into ``/dev/shm`` to keep it in memory. The file is sparse: pages cost nothing until
they are touched. Where its file system is full by then, whoever touches one is killed by SIGBUS: :meth:`Region.reserve`
asks for the space first.
"""

import mmap
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from txqueue.errors import RegionError, RegionForeign, RegionTruncated, RegionVersionUnsupported

MAGIC: Final = int.from_bytes(b"PSREGION", "little")
BYTE_ORDER: Final = 0x0102030405060708
HEADER_WORDS: Final = 8

_MAGIC, _KIND, _VERSION, _BYTE_ORDER, _SIZE, _READY = range(6)


class Region:
    """A mapped file whose first line is a header that :meth:`attach` checks.

    Attributes:
        words: uint64[:], the whole region, its header included.
        path: where other processes find it; for a region without a name, a path under /proc that is good as long as
            this process keeps the region open.
    """

    def __init__(self, descriptor: int, path: Path, size_bytes: int) -> None:
        self._descriptor = descriptor
        self.path = path
        mapping = mmap.mmap(descriptor, size_bytes)
        self._words: NDArray[np.uint64] | None = np.frombuffer(mapping, np.uint64)
        assert self._words.ctypes.data % mmap.PAGESIZE == 0, "mappings begin on a page"

    @classmethod
    def create(
        cls, path: Path | None, size_bytes: int, *, kind: str, version: int, reserved_bytes: int = mmap.PAGESIZE
    ) -> Self:
        """Makes a region of zeros; without a path, one in memory that has no name.

        Attaching fails until :meth:`complete` is called.

        Args:
            path: must not exist yet.
            size_bytes: a multiple of 8, header of 64 bytes included.
            kind: what the region holds, 1 to 8 ASCII characters.
            version: of its layout, at least 1.
            reserved_bytes: as many bytes from the front have their space from now on.

        Raises:
            RegionError: the path exists, or the file cannot be made, or there is no space.
        """
        if size_bytes % 8 or size_bytes < HEADER_WORDS * 8:
            raise ValueError(f"a region's size is a multiple of 8 and at least 64 bytes; got {size_bytes}")
        is_named = path is not None
        try:
            if path is None:
                descriptor = os.memfd_create(f"penstock-{kind}")
                path = Path(f"/proc/{os.getpid()}/fd/{descriptor}")
            else:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError as error:
            raise RegionError(f"{path} exists: attach to it, or remove it if no process uses it any more") from error
        except OSError as error:
            raise RegionError(f"cannot create the region {path}: {error.strerror}; choose another path") from error
        try:
            os.ftruncate(descriptor, size_bytes)
            region = cls(descriptor, path, size_bytes)
            region.reserve(0, min(reserved_bytes, size_bytes))
        except (OSError, OverflowError, RegionError) as error:
            os.close(descriptor)
            if is_named:
                path.unlink()
            if isinstance(error, RegionError):
                raise
            raise RegionError(f"cannot map {size_bytes} bytes at {path}: {error}; ask for less") from error
        words = region.words
        words[_MAGIC], words[_KIND], words[_VERSION] = MAGIC, _kind_word(kind), version
        words[_BYTE_ORDER], words[_SIZE] = BYTE_ORDER, size_bytes
        return region

    def complete(self) -> None:
        """Declares the creator's own first contents complete, so that others may attach."""
        self.words[_READY] = 1

    @classmethod
    def attach(cls, path: Path, *, kind: str, version: int) -> Self:
        """Maps a region that another process, or this one, created.

        Raises:
            RegionForeign: the file is something else.
            RegionVersionUnsupported: its layout is of another version.
            RegionTruncated: it is shorter than it says, or its creator has not completed it.
            RegionError: it cannot be opened.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise RegionError(f"cannot open the region {path}: {error.strerror}") from error
        try:
            _check(descriptor, path, kind, version)
            return cls(descriptor, path, os.fstat(descriptor).st_size)
        except (OSError, ValueError) as error:
            os.close(descriptor)
            raise RegionError(f"cannot map the region {path}: {error}") from error
        except BaseException:
            os.close(descriptor)
            raise

    def reserve(self, first_byte: int, byte_count: int) -> None:
        """Sees to it that there is space for these bytes, whoever writes them; they keep what they hold.

        Nothing needs to be done where a file system has no limit of its own, as for regions without a name.

        Raises:
            RegionError: there is not enough.
        """
        if os.fstatvfs(self._descriptor).f_blocks == 0:
            return
        try:
            os.posix_fallocate(self._descriptor, first_byte, byte_count)
        except OSError as error:
            raise RegionError(
                f"cannot reserve {byte_count} bytes of {self.path}: {error.strerror}; make space, or ask for less"
            ) from error

    @property
    def words(self) -> NDArray[np.uint64]:
        """The whole region as uint64[:]."""
        if self._words is None:
            raise RegionError(f"the region {self.path} was closed")
        return self._words

    def close(self) -> None:
        """Lets go of the region. It stays mapped as long as an array of it is in use; the file stays."""
        if self._words is not None:
            self._words = None
            os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _kind_word(kind: str) -> int:
    encoded = kind.encode("ascii")
    assert 1 <= len(encoded) <= 8, "a kind has 1 to 8 characters"
    return int.from_bytes(encoded, "little")


def _check(descriptor: int, path: Path, kind: str, version: int) -> None:
    """Reads the header without mapping it: a mapping beyond a file's end kills the process that touches it."""
    incomplete = RegionTruncated(f"{path} is not complete yet; wait for its creator, or remove it if that one died")
    header_bytes = os.pread(descriptor, HEADER_WORDS * 8, 0)
    if not header_bytes:
        raise incomplete
    if len(header_bytes) < HEADER_WORDS * 8:
        raise RegionTruncated(f"{path} is shorter than a region's header; remove it and create it anew")
    header = [int(word) for word in np.frombuffer(header_bytes, "<u8")]
    if header[_BYTE_ORDER] == int.from_bytes(BYTE_ORDER.to_bytes(8, "little"), "big"):
        raise RegionForeign(f"{path} was written in the other byte order; regions do not move between such machines")
    if header[_MAGIC] not in (0, MAGIC) or header[_BYTE_ORDER] not in (0, BYTE_ORDER):
        raise RegionForeign(f"{path} is not a region of Penstock; check the path")
    if 0 in header[:_READY]:
        raise incomplete
    if header[_KIND] != _kind_word(kind):
        found = header[_KIND].to_bytes(8, "little").rstrip(b"\0").decode("ascii", "replace")
        raise RegionForeign(f"{path} is a region of kind {found!r}, not {kind!r}; check the path")
    if header[_VERSION] != version:
        raise RegionVersionUnsupported(
            f"{path} has layout version {header[_VERSION]}, this software uses {version}: remove it once unused"
        )
    size_bytes = os.fstat(descriptor).st_size
    if size_bytes != header[_SIZE]:
        raise RegionTruncated(f"{path} has {size_bytes} bytes and should have {header[_SIZE]}; create it anew")
    if header[_READY] != 1:
        raise incomplete
