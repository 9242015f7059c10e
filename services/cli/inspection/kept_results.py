"""Kept results: the file beside a log in which a node keeps each transaction's result, where it is there."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from replication.log.block import Block


class KeptResults:
    """Results as the node last computed them. They are not synced: after a power cut some may be missing."""

    def __init__(self, path: Path) -> None:
        """Read from ``path`` where there is such a file."""
        try:
            self._fd: int | None = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._fd = None

    def of(self, block: Block) -> bytes:
        """Return one byte for each of a block's transactions, 0 where its result is not known."""
        found = b"" if self._fd is None else os.pread(self._fd, block.count, block.first_position)
        return found.ljust(block.count, b"\0")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd is not None:
            os.close(self._fd)
