"""Watch cursor: how far one watch has got, and its next messages."""

from collections.abc import Iterator
from typing import Final

from penstock.v1 import state_pb2
from replication.log.block import Block
from replication.log.write_ahead_log import WriteAheadLog
from services.pipeline.results_file import ResultsFile
from services.rpc.watching.hot_blocks import HotBlocks, WatchedBlock
from services.rpc.watching.watch_filter import WatchFilter

_BLOCKS_MAX: Final = 64
"""Blocks looked at in one turn, however little of them passes."""
_BYTES_MAX: Final = 512 << 10
"""Bytes of messages after which a turn ends: with one message more, all that a watch holds for a slow client."""


class WatchCursor:
    """Goes through the log for one watch. Used by one thread at a time."""

    def __init__(
        self,
        log: WriteAheadLog,
        results_file: ResultsFile,
        hot_blocks: HotBlocks,
        wanted: WatchFilter,
        index: int,
        position: int,
    ) -> None:
        """Begin with block ``index``, and in it with the transaction numbered ``position``."""
        self._log = log
        self._results_file = results_file
        self._hot_blocks = hot_blocks
        self._wanted = wanted
        self.index = index
        """The block to be looked at next."""
        self.told_index = index
        """The ``next_index`` of the last message."""
        self.position = position
        """The first transaction still wanted."""
        self._cold: Iterator[Block] | None = None
        self._current: WatchedBlock | None = None

    def advance(self, applied_index: int) -> list[bytes]:
        """Look at some blocks up to ``applied_index``, and encode what passes. May wait for the disk.

        Raises:
            LogRecycled: the log no longer holds a block.
            LogCorrupted: a block is damaged.
            ResultsUnavailable: results were lost to a full disk.
        """
        messages: list[bytes] = []
        byte_count = looked_at = 0
        while self.index <= applied_index and looked_at < _BLOCKS_MAX:
            block, results = self._current or self._read(applied_index)
            self._current = WatchedBlock(block, results)
            for response in self._wanted.select(block, results, self.position):
                messages.append(response.SerializeToString())
                byte_count += len(messages[-1])
                self.position, self.told_index = response.next_position, response.next_index
                if byte_count >= _BYTES_MAX:
                    break
            if self.position >= block.next_position or byte_count < _BYTES_MAX:
                self.index, self._current = block.index + 1, None
                self.position = max(self.position, block.next_position)
                looked_at += 1
            if byte_count >= _BYTES_MAX:
                break
        return messages

    def progress(self) -> bytes:
        """Encode a message that says how far the watch has got."""
        self.told_index = self.index
        return state_pb2.WatchResponse(
            log_index=self.index - 1, next_index=self.index, next_position=self.position
        ).SerializeToString()

    def _read(self, applied_index: int) -> WatchedBlock:
        if self._hot_blocks.is_hot(self.index, applied_index):
            self._cold = None
            return self._hot_blocks.read(self.index)
        if self._cold is None:
            self._cold = iter(self._log.read(self.index))
        block = next(self._cold)
        assert block.index == self.index
        return WatchedBlock(block, self._results_file.read(block.first_position, block.count))
