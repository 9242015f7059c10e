"""What a node promised is never forgotten, whatever a crash interrupts; and what was lost is told, never guessed."""

import random
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from replication.log.ballot import Ballot
from replication.log.directory.log_metadata import LogMetadata
from replication.log.directory.promise_record import PromiseRecord, PromiseStore, make_promise
from replication.log.disk import Disk
from replication.log.errors import LogFailed, LogVersionUnsupported, PromiseLost
from tests.replication.log.chain import CLUSTER, flip
from tests.replication.log.unsafe_disk import BROKEN, NO_SPACE, CrashDisk, FailingDisk, PowerCut

METADATA = LogMetadata(CLUSTER, {}, 77, 2)
FULL = PromiseRecord(
    ballot=Ballot(5, 3),
    generation=4,
    voters=(1, 2, 3),
    leaving=(1, 2),
    learners=(8,),
    incarnation=1,
    incarnations=((1, 0, 2**64 - 1), (3, 2, 5)),
    voting=True,
    commit_index=2**60,
)


def _opened(directory: Path, disk: Disk | None = None) -> PromiseStore:
    return PromiseStore(directory, METADATA, disk or Disk())


def _read(directory: Path) -> PromiseRecord:
    store = _opened(directory)
    try:
        return store.read()
    finally:
        store.close()


def _stored(directory: Path, *records: PromiseRecord) -> None:
    if not (directory / "promise").exists():
        make_promise(directory, METADATA, Disk())
    store = _opened(directory)
    for record in records:
        store.store(record)
    store.close()


def test_a_new_node_has_promised_nothing_and_does_not_vote(tmp_path: Path) -> None:
    make_promise(tmp_path, METADATA, Disk())
    assert _read(tmp_path) == PromiseRecord(voting=False)


def test_what_was_stored_is_read_back_whole(tmp_path: Path) -> None:
    _stored(tmp_path, replace(FULL, ballot=Ballot(5, 2)), FULL)
    assert _read(tmp_path) == FULL


def test_store_returns_only_when_both_copies_are_synced(tmp_path: Path) -> None:
    make_promise(tmp_path, METADATA, Disk())
    disk = CrashDisk()
    store = _opened(tmp_path, disk)
    store.store(FULL)
    store.close()
    disk.lose(random.Random(1))
    for page in (0, 1):
        content = bytearray((tmp_path / "promise").read_bytes())
        content[page * 4096 : (page + 1) * 4096] = bytes(4096)
        (tmp_path / str(page)).mkdir()
        (tmp_path / str(page) / "promise").write_bytes(content)
        assert _read(tmp_path / str(page)) == FULL


@pytest.mark.parametrize("lives", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_a_crash_at_any_step_leaves_the_record_before_or_the_new_one_and_never_less(
    tmp_path: Path, lives: int, seed: int
) -> None:
    """In the second life a process was killed first, so that what is read may not be durable yet."""
    rng = random.Random(seed)
    for steps in range(5):
        for more in range(8) if lives == 2 else [8]:
            directory = tmp_path / f"{steps}-{more}"
            directory.mkdir()
            _stored(directory, replace(FULL, ballot=Ballot(4, 1)))
            disk = CrashDisk()
            store = _opened(directory, disk)
            allowed = [Ballot(4, 1), Ballot(5, 3)]
            disk.steps_left = steps
            try:
                store.store(FULL)
                allowed = [Ballot(5, 3)]
            except PowerCut:
                pass
            store.close()
            if lives == 2:
                disk.steps_left = more
                try:
                    again = _opened(directory, disk)
                    allowed = [ballot for ballot in allowed if ballot >= again.read().ballot]
                    again.store(replace(again.read(), ballot=Ballot(6, 1)))
                    allowed = [Ballot(6, 1)]
                except PowerCut:
                    allowed.append(Ballot(6, 1))
            disk.steps_left = None
            disk.lose(rng)
            assert _read(directory).ballot in allowed
            assert _read(directory).ballot in allowed, "opening it changed nothing"
            shutil.rmtree(directory)


@pytest.mark.parametrize("steps", [1, 2])
def test_a_power_cut_while_copies_are_made_alike_after_a_kill_loses_neither(tmp_path: Path, steps: int) -> None:
    """What the killed process wrote into the first page is read, and is not durable yet."""
    for seed in range(150):
        directory = tmp_path / str(seed)
        directory.mkdir()
        _stored(directory, replace(FULL, ballot=Ballot(4, 1)))
        disk = CrashDisk()
        store = _opened(directory, disk)
        disk.steps_left = 1  # written, not synced
        with pytest.raises(PowerCut):
            store.store(FULL)
        store.close()
        disk.steps_left = steps
        with pytest.raises(PowerCut):
            _opened(directory, disk)
        disk.steps_left = None
        disk.lose(random.Random(seed))
        assert _read(directory).ballot in (Ballot(4, 1), Ballot(5, 3))


@pytest.mark.parametrize("page", [0, 1])
@pytest.mark.parametrize("offset", [0, 9, 17, 40, 60, 4000, 4095])
def test_damage_to_one_copy_never_brings_an_older_promise_back(tmp_path: Path, page: int, offset: int) -> None:
    _stored(tmp_path, replace(FULL, ballot=Ballot(5, 2)), FULL)
    flip(tmp_path / "promise", page * 4096 + offset)
    assert _read(tmp_path) == FULL
    other = (page + 1) % 2
    flip(tmp_path / "promise", other * 4096 + offset)
    assert _read(tmp_path) == FULL, "the damaged copy was mended when the record was opened"


def _lose(directory: Path, how: str) -> None:
    path = directory / "promise"
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    else:
        flip(path, 50)
        flip(path, 4096 + 60)


@pytest.mark.parametrize("how", ["missing", "empty", "damaged"])
def test_a_lost_record_is_an_error_and_never_no_promise(tmp_path: Path, how: str) -> None:
    _stored(tmp_path, FULL)
    _lose(tmp_path, how)
    for _ in range(2):
        store = _opened(tmp_path)
        with pytest.raises(PromiseLost, match="must not vote before it has recovered"):
            store.read()
        with pytest.raises(PromiseLost):
            store.store(replace(FULL, ballot=Ballot(9, 9)))
        store.close()


@pytest.mark.parametrize("how", ["missing", "empty", "damaged"])
def test_a_lost_record_is_begun_anew_without_a_vote(tmp_path: Path, how: str) -> None:
    _stored(tmp_path, FULL)
    _lose(tmp_path, how)
    store = _opened(tmp_path)
    store.begin_anew()
    assert store.read() == PromiseRecord(voting=False)
    store.store(replace(FULL, voting=False))
    store.close()
    assert _read(tmp_path) == replace(FULL, voting=False)


def test_the_record_of_another_log_is_no_record_of_this_one(tmp_path: Path) -> None:
    _stored(tmp_path, FULL)
    for other in (METADATA._replace(log_id=78), METADATA._replace(cluster_id=1)):
        store = PromiseStore(tmp_path, other, Disk())
        with pytest.raises(PromiseLost):
            store.read()
        store.close()


def test_a_record_of_a_newer_format_says_so(tmp_path: Path) -> None:
    _stored(tmp_path, FULL)
    content = bytearray((tmp_path / "promise").read_bytes())
    for start in (0, 4096):
        content[start + 4] = 2
        content[start + 4092 : start + 4096] = _crc(bytes(content[start : start + 4092]))
    (tmp_path / "promise").write_bytes(content)
    with pytest.raises(LogVersionUnsupported, match="format version 2"):
        _opened(tmp_path)


@pytest.mark.parametrize("call", ["write", "sync"])
def test_a_disk_that_fails_under_a_promise_ends_promising(tmp_path: Path, call: str) -> None:
    make_promise(tmp_path, METADATA, Disk())
    disk = FailingDisk()
    store = _opened(tmp_path, disk)
    disk.failing[call] = BROKEN
    with pytest.raises(LogFailed, match="stop the node"):
        store.store(FULL)
    disk.failing.clear()
    for attempt in (store.read, lambda: store.store(FULL)):
        with pytest.raises(LogFailed):
            attempt()
    store.close()


def test_a_full_disk_keeps_nobody_from_promising(tmp_path: Path) -> None:
    make_promise(tmp_path, METADATA, Disk())
    disk = FailingDisk()
    store = _opened(tmp_path, disk)
    disk.failing |= {"allocate": NO_SPACE, "open": NO_SPACE, "rename": NO_SPACE}
    store.store(FULL)
    store.close()
    assert _read(tmp_path) == FULL


def test_a_promise_is_never_taken_back(tmp_path: Path) -> None:
    _stored(tmp_path, FULL)
    store = _opened(tmp_path)
    for lower in (replace(FULL, ballot=Ballot(5, 2)), replace(FULL, generation=3)):
        with pytest.raises(AssertionError):
            store.store(lower)
    assert store.read() == FULL
    store.close()


def _crc(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(4, "little")
