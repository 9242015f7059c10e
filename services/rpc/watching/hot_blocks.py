"""Hot blocks: the latest blocks with their results, read from the log and verified once for all who watch."""

import threading
from typing import Final, NamedTuple

from replication.log.block import Block
from replication.log.write_ahead_log import WriteAheadLog
from services.pipeline.results_file import ResultsFile

_BLOCKS: Final = 64
"""Blocks that are kept. They lie in mapped segments of the log, so they take up addresses and not memory."""


class WatchedBlock(NamedTuple):
    """A block and the results of its transactions, one byte each."""

    block: Block
    results: bytes


class HotBlocks:
    """Reads single blocks for watches that have caught up. Any thread may call; one reads while the others wait for it.

    Whoever is further behind reads a row of blocks by itself: see `services.rpc.watching.watch_cursor`.
    """

    def __init__(self, log: WriteAheadLog, results_file: ResultsFile) -> None:
        self._log = log
        self._results_file = results_file
        self._kept: dict[int, WatchedBlock] = {}
        self._lock = threading.Lock()

    def is_hot(self, index: int, applied_index: int) -> bool:
        """Whether a block is among the latest, which are kept."""
        return index > applied_index - _BLOCKS

    def read(self, index: int) -> WatchedBlock:
        """Give a block that has been applied.

        Raises:
            LogRecycled: the log no longer holds it.
            LogCorrupted: it is damaged.
            ResultsUnavailable: its results were lost to a full disk.
        """
        with self._lock:
            found = self._kept.get(index)
            if found is None:
                block = next(iter(self._log.read(index)))
                found = WatchedBlock(block, self._results_file.read(block.first_position, block.count))
                self._kept[index] = found
                if len(self._kept) > _BLOCKS:
                    del self._kept[min(self._kept)]
            return found
