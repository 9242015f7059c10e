"""Segments are prepared ahead, given up from the front of the log, and used again."""

from pathlib import Path

import pytest

from replication.log.errors import LogRecycled
from replication.log.write_ahead_log import WriteAheadLog
from tests.fakes import ManualExecutor
from tests.replication.log.chain import CLUSTER, SEGMENT_BYTES, append, hashes, open_log
from tests.replication.log.unsafe_disk import run_background


def test_recycling_frees_whole_segments_and_keeps_the_rest_readable(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        written = [block.hash for _ in range(20) for block in append(log, [900])]
        files = len(list(tmp_path.iterdir()))
        assert log.recycle_below(11) == 10
        assert log.first_index == 11
        assert hashes(log, 11) == written[10:]
        with pytest.raises(LogRecycled, match="starts at 11"):
            next(log.read(10))
        written += [block.hash for _ in range(8) for block in append(log, [900])]
        assert len(list(tmp_path.iterdir())) <= files + 2, "recycled segments are used again"
    with open_log(tmp_path) as log:
        assert log.first_index == 11
        assert hashes(log, 11) == written[10:]


def test_the_last_segment_and_what_is_not_durable_are_never_recycled(tmp_path: Path) -> None:
    with open_log(tmp_path, mode="none") as log:
        append(log, [900], sync=False)
        append(log, [900], sync=False)
        assert log.recycle_below(99) == 0
        append(log, [900], sync=False)
        assert log.recycle_below(99) == 1
        assert log.first_index == 2


def test_a_block_that_somebody_holds_survives_its_segments_recycling(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        append(log, [900] * 3)
        held = next(log.read(1))
        assert log.recycle_below(3) == 2
        append(log, [900] * 6)
        held.verify()
        assert held.index == 1


def test_recycled_segments_of_another_size_are_not_used_again(tmp_path: Path, executor: ManualExecutor) -> None:
    with open_log(tmp_path, executor=executor) as log:
        for _ in range(3):
            append(log, [900])
        log.recycle_below(3)
        assert len(list(tmp_path.glob("*.recycled"))) == 2
    with WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=2 * SEGMENT_BYTES, executor=executor) as log:
        assert run_background(executor, "log-preallocator") == 2
        assert not list(tmp_path.glob("*.recycled"))
        append(log, [900, 900])
        assert log.first_index == 3
        assert len(hashes(log, 3)) == 3


def test_two_segments_are_prepared_ahead_and_closing_gives_up_a_third(tmp_path: Path, executor: ManualExecutor) -> None:
    log = open_log(tmp_path, executor=executor)
    assert run_background(executor, "log-preallocator") == 2
    append(log, [900])
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir() if "segment" in path.name) == [
        "0000000001.segment",
        "0000000002.segment",
    ]
    with open_log(tmp_path, executor=executor) as log:
        assert run_background(executor, "log-preallocator") == 1
        assert len(list(tmp_path.glob("*.segment"))) == 3
