"""Readable log: the blocks of an open log, for those who read them beside the one who appends."""

from collections.abc import Callable, Iterator

from replication.log.ballot import Ballot
from replication.log.block import Block, ChainTip
from replication.log.disk import Disk
from replication.log.errors import LogCorrupted, LogTruncated
from replication.log.recovery.replay import read_blocks
from replication.log.segments.segment_index import SegmentIndex, read_mapped


class ReadableLog:
    """What `replication.log.write_ahead_log.WriteAheadLog` offers to any thread, at any time."""

    def __init__(self, index: SegmentIndex, tip: ChainTip, disk: Disk) -> None:
        """Read what ``index`` holds; ``tip`` is what the next block has to follow."""
        self._index, self._tip, self._disk = index, tip, disk

    @property
    def first_index(self) -> int:
        """Index of the oldest block that :meth:`read` reaches; 1 for an empty log."""
        return self._index.first_index

    @property
    def last_index(self) -> int:
        """Index of the last block appended; 0 for an empty log."""
        return self._tip.index

    @property
    def last_position(self) -> int:
        """Transactions appended, which is also the number of the next one."""
        return self._tip.next_position

    @property
    def last_hash(self) -> bytes:
        """Hash of the last block appended: the next one's ``previous_hash``."""
        assert self._tip.hash is not None
        return self._tip.hash

    @property
    def last_ballot(self) -> Ballot:
        """Ballot under which the last block was sealed; `NO_BALLOT` for an empty log."""
        return self._tip.ballot

    @property
    def last_time_ns(self) -> int:
        """Time of the last block appended, which no later one may be before; 0 for an empty log."""
        return self._tip.time_ns

    def replay(self, on_block: Callable[[Block], None], *, to_index: int | None = None) -> None:
        """Give the blocks from :attr:`first_index` to ``to_index``, by default the last, to ``on_block``, in order.

        Each is verified before it is given; its memory is used again when ``on_block`` returns. This is the fastest way
        through the whole log, which it reads past the page cache. What ``on_block`` raises ends it.

        Raises:
            LogCorrupted: a block is damaged or missing; those before it have been given.
            LogVersionUnsupported: a block is in a newer format.
            OSError: the disk failed.
            ValueError: the log does not hold ``to_index``.
        """
        to_index = self.last_index if to_index is None else to_index
        if not 0 <= to_index <= self.last_index:
            raise ValueError(f"replay to block {to_index}: the log ends with block {self.last_index}")
        for block in read_blocks(self._index.segments, to_index, self._disk):
            on_block(block)

    def read(self, from_index: int) -> Iterator[Block]:
        """Yield the blocks from ``from_index`` to the last one appended when it is reached, verified.

        They are read-only views of mapped segments and stay valid for as long as they are kept.

        Raises:
            LogRecycled: a block is older than the log reaches back.
            LogTruncated: a block that was yielded has been cut, and the log goes on with others.
            LogBusy: the system is short of what mapping a segment takes; try again later.
            LogCorrupted: a block is damaged.
        """
        truncations = self._index.truncations
        previous_hash = None
        while (run := self._index.find(from_index)) is not None:
            for _, block in read_mapped(run, from_index):
                if previous_hash not in (None, block.previous_hash):
                    if self._index.truncations != truncations:
                        raise LogTruncated(block.index - 1)
                    what = "the block does not follow the one before it"
                    raise LogCorrupted(run.segment.path, 0, block.index, what)
                yield block
                previous_hash = block.hash
            from_index = run.to_index + 1
