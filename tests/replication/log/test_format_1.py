"""A log that a version before wrote, in format 1, is read and carried on; its blocks stay as they are."""

import itertools
import json
import zipfile
from pathlib import Path

import pytest

from replication.log.errors import LogCorrupted
from replication.log.log_view import LogView
from replication.log.write_ahead_log import WriteAheadLog
from tests.replication.log.chain import CLUSTER, SEGMENT_BYTES, append, flip, hashes, recovered, replayed
from tests.replication.log.unsafe_disk import abandon

DATA = Path(__file__).parent / "format_1"
HASHES = [bytes.fromhex(text) for text in json.loads((DATA / "hashes.json").read_text())]
"""Of the forty blocks that were written; the first fifteen were recycled."""
HELD = HASHES[15:]


def _unpacked(name: str, directory: Path) -> Path:
    """A log that a program of format 1 closed, or was killed on, in three segments and two prepared ones."""
    with zipfile.ZipFile(DATA / f"{name}.zip") as archive:
        archive.extractall(directory)
    return directory


def _open(directory: Path) -> WriteAheadLog:
    return WriteAheadLog.open(directory, CLUSTER, segment_bytes=SEGMENT_BYTES)


@pytest.mark.parametrize("name", ["closed", "crashed"])
def test_a_log_of_format_1_is_read_whole_and_carried_on_in_one_chain(tmp_path: Path, name: str) -> None:
    _unpacked(name, tmp_path)
    with _open(tmp_path) as log:
        assert (log.first_index, log.last_index, log.torn_tail) == (16, 40, None)
        assert hashes(log, 16) == replayed(log) == HELD
        written = [block.hash for count in [3, 100, 400, 0, 200] * 4 for block in append(log, [count])]
        assert hashes(log, 16) == replayed(log) == HELD + written
    with _open(tmp_path) as log:
        blocks = list(log.read(16))
        assert [block.version for block in blocks] == [1] * 25 + [2] * 20
        assert [block.hash for block in blocks] == replayed(log) == HELD + written
        for before, block in itertools.pairwise(blocks):
            assert block.previous_hash == before.hash
    assert recovered(tmp_path) == (60, HELD + written)


def test_a_view_of_a_log_of_format_1_changes_nothing(tmp_path: Path) -> None:
    _unpacked("closed", tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    view = LogView.of(tmp_path)
    assert [block.hash for block in view.blocks()] == HELD
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("index", [30, 39, 40, 41, 44])
def test_a_log_of_both_formats_is_cut_in_either_and_goes_on(tmp_path: Path, index: int) -> None:
    _unpacked("closed", tmp_path)
    with _open(tmp_path) as log:
        written = HASHES + [block.hash for block in append(log, [3, 100, 5, 5])]
        log.truncate_after(index)
        written[index:] = [block.hash for block in append(log, [7, 7], epoch=2)]
        assert hashes(log, 16) == replayed(log) == written[15:]
        abandon(log)
    assert recovered(tmp_path) == (index + 2, written[15:])


def test_damage_to_a_block_of_format_1_is_corruption(tmp_path: Path) -> None:
    _unpacked("closed", tmp_path)
    with _open(tmp_path) as log:
        append(log, [3])
    flip(tmp_path / "0000000003.segment", 4096 * 3 + 140)
    with pytest.raises(LogCorrupted, match="body's hash"):
        _open(tmp_path)


@pytest.mark.parametrize("name", ["closed", "crashed"])
def test_the_newest_block_of_format_1_is_torn_or_damaged_as_its_watermark_says(tmp_path: Path, name: str) -> None:
    _unpacked(name, tmp_path)
    flip(tmp_path / "0000000003.segment", 4096 * 10 + 140)
    if name == "closed":
        with pytest.raises(LogCorrupted, match="block 40 was known to be durable"):
            _open(tmp_path)
    else:
        with _open(tmp_path) as log:
            assert log.last_index == 39
            assert log.torn_tail is not None
            written = [block.hash for block in append(log, [1, 2])]
        assert recovered(tmp_path) == (41, HELD[:-1] + written)
