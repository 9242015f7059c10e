"""What a node's own disk proves, and what becomes of blocks that it may have acknowledged and cannot read."""

import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pooling.buffers import aligned_buffer
from replication.log.ballot import Ballot
from replication.log.block import Block
from replication.log.directory.cut_intention import read_cut
from replication.log.directory.promise_record import PromiseRecord
from replication.log.disk import Disk
from replication.log.errors import LogCorrupted
from replication.log.write_ahead_log import WriteAheadLog
from tests.fakes import ManualClock, ManualExecutor
from tests.replication.log.chain import (
    CLUSTER,
    SEGMENT_BYTES,
    append,
    contents,
    flip,
    hashes,
    replayed,
    seal_after,
)
from tests.replication.log.unsafe_disk import CrashDisk, abandon, power_cut_while_opening

LEADER, FOLLOWER = 1, 2
MEMBERS = PromiseRecord(ballot=Ballot(1, LEADER), generation=1, voters=(1, 2, 3), voting=True)


def _open(directory: Path, node: int | None = FOLLOWER, disk: Disk | None = None) -> WriteAheadLog:
    return WriteAheadLog.open(
        directory,
        CLUSTER,
        segment_bytes=SEGMENT_BYTES,
        disk=disk,
        node=node,
        clock=ManualClock(),
        executor=ManualExecutor(),
    )


def _promise(log: WriteAheadLog, **changed: Any) -> None:
    assert log.promises is not None
    log.promises.store(replace(MEMBERS, **changed))


def _record(log: WriteAheadLog) -> PromiseRecord:
    assert log.promises is not None
    return log.promises.read()


def _leaders_blocks(directory: Path, counts: Sequence[int]) -> list[Block]:
    """Blocks that a leader sealed and knew to be durable, each of all before it, on its own disk."""
    with _open(directory / "leader", LEADER) as leader:
        return [block for count in counts for block in append(leader, [count])]


def _received(block: Block) -> Block:
    """A block as it arrives at a follower: in memory that it must not write to."""
    buffer = aligned_buffer(block.stored_bytes)
    buffer[:] = block.buffer[: block.stored_bytes]
    buffer.flags.writeable = False
    return Block.parse(buffer)


def test_a_follower_writes_the_leaders_block_with_its_own_evidence(tmp_path: Path) -> None:
    blocks = [_received(block) for block in _leaders_blocks(tmp_path, [10, 100, 400, 1])]
    assert [block.durable_index for block in blocks] == [0, 1, 2, 3]
    with _open(tmp_path / "follower") as log:
        log.append(blocks[:2])
        log.sync()
        log.append(blocks[2:])
        read = list(log.read(1))
        assert [block.durable_index for block in read] == [0, 0, 2, 2]
        assert {block.log_id for block in read} == {log.log_id}
        assert [block.hash for block in read] == replayed(log) == [block.hash for block in blocks]
    with _open(tmp_path / "follower") as log:
        assert hashes(log) == [block.hash for block in blocks]


def test_a_leaders_own_block_is_written_as_it_was_sealed(tmp_path: Path) -> None:
    with _open(tmp_path, LEADER) as log:
        block = Block.parse(seal_after(log, 3).buffer)
        assert block.log_id == log.log_id
        log.append([block])
        assert (tmp_path / "0000000001.segment").read_bytes()[4096:8192] == block.buffer[:4096].tobytes()


@pytest.mark.parametrize("seed", range(20))
def test_a_power_cut_never_makes_a_followers_unsynced_blocks_evidence_of_damage(tmp_path: Path, seed: int) -> None:
    """Whatever the leader knew: a group that was lost in the middle was acknowledged by nobody here."""
    blocks = [_received(block) for block in _leaders_blocks(tmp_path, [10] * 9)]
    disk = CrashDisk()
    log = _open(tmp_path / "follower", disk=disk)
    _promise(log)
    log.append(blocks[:3])
    log.sync()
    log.append(blocks[3:])
    abandon(log)
    disk.lose(random.Random(seed))
    with _open(tmp_path / "follower") as log:
        assert log.suspect is None
        assert log.last_index >= 3
        assert hashes(log) == [block.hash for block in blocks[: log.last_index]]
        assert _record(log).voting
        log.append(blocks[log.last_index :])
        assert hashes(log) == [block.hash for block in blocks]


def _follower(directory: Path, groups: Sequence[int] = (3, 3, 3), count: int = 10, **promise: int) -> list[bytes]:
    """A follower that synced the leader's blocks in groups, and was killed; its watermark says nothing."""
    blocks = [_received(block) for block in _leaders_blocks(directory, [count] * sum(groups))]
    log = _open(directory / "follower")
    _promise(log, **promise)
    for group in groups:
        log.append(blocks[log.last_index : log.last_index + group])
        log.sync()
    abandon(log)
    return [block.hash for block in blocks]


def test_damage_to_what_was_durable_is_suspect_where_there_are_peers_and_ends_the_vote(tmp_path: Path) -> None:
    written = _follower(tmp_path)
    flip(tmp_path / "follower" / "0000000001.segment", 4096 * 5 + 300)
    with _open(tmp_path / "follower") as log:
        assert log.suspect is not None
        assert (log.suspect.first_index, log.suspect.last_index) == (5, 9)
        assert "may have been durable" in str(log.suspect)
        assert log.torn_tail is None
        assert hashes(log) == written[:4]
        assert not _record(log).voting
        assert _record(log).ballot == MEMBERS.ballot, "the promise is kept"
    with _open(tmp_path / "follower") as log:
        assert (log.last_index, log.suspect, log.torn_tail) == (4, None, None)
        assert not _record(log).voting, "until others gave it the blocks again"


def test_damage_in_the_last_group_that_was_synced_looks_like_a_torn_tail(tmp_path: Path) -> None:
    _follower(tmp_path)
    flip(tmp_path / "follower" / "0000000001.segment", 4096 * 8 + 300)
    with _open(tmp_path / "follower") as log:
        assert (log.last_index, log.suspect) == (7, None)
        assert log.torn_tail is not None
        assert (log.torn_tail.index, log.torn_tail.last_index) == (8, 9), "what the node may have acknowledged"


def test_what_was_known_to_be_committed_was_durable_here(tmp_path: Path) -> None:
    _follower(tmp_path, commit_index=9)
    flip(tmp_path / "follower" / "0000000001.segment", 4096 * 8 + 300)
    with _open(tmp_path / "follower") as log:
        assert log.suspect is not None
        assert (log.suspect.first_index, log.suspect.last_index) == (8, 9)
        assert log.commit_index == 7


def test_a_lost_segment_header_before_segments_in_use_is_suspect(tmp_path: Path) -> None:
    written = _follower(tmp_path, count=400)
    flip(tmp_path / "follower" / "0000000003.segment", 20)
    with _open(tmp_path / "follower") as log:
        assert log.suspect is not None
        assert (log.suspect.first_index, log.suspect.last_index) == (5, 9)
        assert hashes(log) == written[:4]
        append(log, [3])
    with _open(tmp_path / "follower") as log:
        assert hashes(log)[:4] == written[:4]
        assert log.last_index == 5


@pytest.mark.parametrize("alone", ["no number", "no membership", "the only one"])
def test_a_log_that_only_one_node_has_stays_as_strict_as_ever(tmp_path: Path, alone: str) -> None:
    directory = tmp_path / "log"
    log = _open(directory, None if alone == "no number" else LEADER)
    if alone == "the only one":
        _promise(log, voters=(LEADER,))
    append(log, [10, 10])
    append(log, [10, 10])
    abandon(log)
    flip(directory / "0000000001.segment", 4096 * 2 + 300)
    before = contents(directory)
    with pytest.raises(LogCorrupted, match="block 2 was known to be durable"):
        _open(directory, None)
    after = contents(directory)
    assert {name: after[name] for name in before} == before


def test_a_node_that_lost_its_promise_says_so_and_takes_damage_for_corruption(tmp_path: Path) -> None:
    _follower(tmp_path)
    directory = tmp_path / "follower"
    (directory / "promise").unlink()
    with _open(directory) as log:
        assert (log.last_index, log.commit_index) == (9, 0)
    flip(directory / "0000000001.segment", 4096 * 5 + 300)
    with pytest.raises(LogCorrupted):
        _open(directory)


def test_a_power_cut_at_any_step_of_cutting_a_suspect_tail_never_gives_the_vote_back(tmp_path: Path) -> None:
    written = _follower(tmp_path, count=400)
    flip(tmp_path / "follower" / "0000000003.segment", 20)
    done, steps = False, 0
    while not done:
        directory = tmp_path / str(steps)
        shutil.copytree(tmp_path / "follower", directory)
        done = power_cut_while_opening(partial(_open, directory, FOLLOWER), steps, random.Random(steps))
        with _open(directory) as log:
            assert hashes(log) == written[:4]
            assert not _record(log).voting
            assert read_cut(directory, CLUSTER) is None
            append(log, [3, 400, 400])
        with _open(directory) as log:
            assert log.last_index == 7
        shutil.rmtree(directory)
        steps += 1
    assert steps > 16, "cutting it takes that many steps at least"


def test_blocks_from_damage_in_the_middle_on_are_given_up_with_the_vote(tmp_path: Path) -> None:
    written = _follower(tmp_path, count=400)
    flip(tmp_path / "follower" / "0000000002.segment", 4096 + 300)
    with _open(tmp_path / "follower") as log:
        assert log.suspect is None, "only what stands at the end is read when a log is opened"
        with pytest.raises(LogCorrupted) as caught:
            replayed(log)
        assert caught.value.index == 3
        assert _record(log).voting
        log.give_up_after(2)
        assert not _record(log).voting
        assert hashes(log) == replayed(log) == written[:2]
        append(log, [1])
    with _open(tmp_path / "follower") as log:
        assert log.last_index == 3
        assert not _record(log).voting


@pytest.mark.parametrize(("known", "expected"), [(0, 0), (5, 5), (9, 9)])
def test_a_replay_to_what_was_committed_applies_nothing_behind_it(tmp_path: Path, known: int, expected: int) -> None:
    written = _follower(tmp_path, commit_index=known)
    with _open(tmp_path / "follower") as log:
        assert log.commit_index == expected
        assert replayed(log, log.commit_index) == written[:expected]


def test_what_is_durable_on_the_only_node_is_committed(tmp_path: Path) -> None:
    for node in (None, LEADER):
        directory = tmp_path / str(node)
        with _open(directory, node) as log:
            append(log, [1, 2, 3])
        with _open(directory, node) as log:
            assert log.commit_index == 3
