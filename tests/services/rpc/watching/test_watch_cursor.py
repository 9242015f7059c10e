"""A watch goes through the log in turns, each block once, and hot blocks are read once for all."""

from pathlib import Path
from typing import cast

import pytest

from penstock.v1 import state_pb2
from replication.log.write_ahead_log import WriteAheadLog
from services.admission.namespaces import NamespaceSet
from services.pipeline.results_file import ResultsFile
from services.rpc.watching.hot_blocks import HotBlocks
from services.rpc.watching.watch_cursor import WatchCursor
from services.rpc.watching.watch_filter import WatchFilter
from tests.frames import rows
from tests.services.blocks import FakeLog, chain

BLOCKS = chain(*(rows(3, namespace=number % 2) for number in range(100)))


class Watching:
    def __init__(self, directory: Path) -> None:
        self.log = FakeLog(BLOCKS)
        self.results_file = ResultsFile(directory / "results")
        for block in BLOCKS:
            self.results_file.write(block.first_position, b"\1" * block.count)
        self.hot_blocks = HotBlocks(cast(WriteAheadLog, self.log), self.results_file)

    def cursor(self, index: int, position: int = 0, **request: object) -> WatchCursor:
        wanted = WatchFilter(state_pb2.WatchRequest(**request), NamespaceSet(None))  # type: ignore[arg-type]
        log = cast(WriteAheadLog, self.log)
        return WatchCursor(log, self.results_file, self.hot_blocks, wanted, index, position)


@pytest.fixture
def watching(tmp_path: Path) -> Watching:
    return Watching(tmp_path)


def told(messages: list[bytes]) -> list[tuple[int, int]]:
    """(block, transactions) of each message."""
    parsed = [state_pb2.WatchResponse.FromString(message) for message in messages]
    return [(each.log_index, len(each.results)) for each in parsed]


def all_of(cursor: WatchCursor, applied_index: int) -> list[bytes]:
    messages: list[bytes] = []
    while cursor.index <= applied_index:
        messages += cursor.advance(applied_index)
    return messages


def test_every_block_is_told_once_and_in_order(watching: Watching) -> None:
    cursor = watching.cursor(1)
    assert told(all_of(cursor, 100)) == [(index, 3) for index in range(1, 101)]
    assert cursor.advance(100) == []


def test_a_watch_goes_on_inside_a_block(watching: Watching) -> None:
    position = BLOCKS[9].first_position + 2
    assert told(all_of(watching.cursor(10, position), 11)) == [(10, 1), (11, 3)]


def test_a_watch_that_nothing_passes_says_how_far_it_got(watching: Watching) -> None:
    cursor = watching.cursor(1, namespaces=[9])
    assert all_of(cursor, 50) == []
    progress = state_pb2.WatchResponse.FromString(cursor.progress())
    assert (progress.next_index, len(progress.results)) == (51, 0)


def test_a_hot_block_is_read_once_for_all(watching: Watching) -> None:
    first = watching.hot_blocks.read(100)
    assert watching.hot_blocks.read(100) is first
    assert watching.hot_blocks.is_hot(100, 100)
    assert not watching.hot_blocks.is_hot(1, 100)
