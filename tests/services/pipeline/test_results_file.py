"""Results are kept with their blocks; what cannot be written for a while is late, and what is lost is told."""

import errno
import logging
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from replication.log.errors import LogBusy, LogFull
from services.pipeline.late_results import LateResults
from services.pipeline.results_file import ResultsFile, ResultsUnavailable
from tests.fakes import ManualClock

MIB = 1 << 20


class Host:
    """The system's calls, of which a test lets some fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failing: dict[str, int] = {}
        self.short = False
        for name in ("open", "pwrite", "posix_fallocate", "ftruncate", "pread"):
            monkeypatch.setattr(os, name, self._failing(name, getattr(os, name)))

    def _failing(self, name: str, call: object) -> object:
        def called(*arguments: object) -> object:
            assert callable(call)
            if name in self.failing:
                raise OSError(self.failing[name], os.strerror(self.failing[name]))
            if name == "pwrite" and self.short:
                fd, data, offset = arguments
                assert isinstance(data, bytes)
                return call(fd, data[: len(data) // 2], offset)
            return call(*arguments)

        return called


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def results(tmp_path: Path, clock: ManualClock) -> Iterator[ResultsFile]:
    made = ResultsFile(tmp_path / "results", clock, LateResults(100))
    yield made
    made.close()


def _block(position: int, count: int = 10) -> bytes:
    return bytes(1 + (position + number) % 200 for number in range(count))


def test_results_come_back_by_position(results: ResultsFile) -> None:
    for position in (0, 10, 20):
        results.reserve(position, 10)
        results.write(position, _block(position))
    assert results.read(5, 20) == _block(5, 20)
    with pytest.raises(ResultsUnavailable):
        results.read(25, 10)


@pytest.mark.parametrize("how", ["open", "pwrite", "short"])
def test_results_that_could_not_be_written_are_kept_until_they_can(
    results: ResultsFile, host: Host, clock: ManualClock, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    if how == "short":
        results.write(0, _block(0))
        host.short = True
    else:
        host.failing[how] = errno.ENOSPC
        results.write(0, _block(0))
    for position in range(10, 60, 10):
        results.write(position, _block(position))
        assert results.read(0, position + 10) == _block(0, position + 10), "they are read from memory"
    host.failing.clear()
    host.short = False
    clock.advance(0.2)
    results.write(60, _block(60))
    assert results.read(0, 70) == _block(0, 70)
    begin, end = caplog.messages
    assert "do not get into" in begin
    assert "no results are missing" in end


def test_a_range_that_was_lost_is_the_only_one_that_is_refused(
    results: ResultsFile, host: Host, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    results.write(0, _block(0))
    host.failing["pwrite"] = errno.ENOSPC
    for position in range(10, 200, 10):
        results.write(position, _block(position))
        clock.advance(1)
    host.failing.clear()
    for position in range(200, 300, 10):
        clock.advance(1)
        results.write(position, _block(position))
    assert results.read(0, 10) == _block(0)
    assert results.read(100, 200) == _block(100, 200)
    for first, count in ((10, 10), (90, 10), (0, 11), (99, 2), (0, 300)):
        with pytest.raises(ResultsUnavailable, match="restart the node"):
            results.read(first, count)
    assert len(caplog.messages) == 2
    assert "transactions 10 to 99 are missing" in caplog.messages[1]


def test_late_results_are_written_by_whoever_reads_them_too(
    results: ResultsFile, host: Host, clock: ManualClock, tmp_path: Path
) -> None:
    host.failing["pwrite"] = errno.ENOSPC
    results.write(0, _block(0))
    host.failing.clear()
    clock.advance(0.2)
    assert results.read(0, 10) == _block(0)
    assert (tmp_path / "results").read_bytes()[:10] == _block(0)


@pytest.mark.parametrize(
    ("call", "number", "raised"),
    [
        ("posix_fallocate", errno.ENOSPC, LogFull),
        ("posix_fallocate", errno.EDQUOT, LogFull),
        ("ftruncate", errno.ENOSPC, LogFull),
        ("open", errno.EMFILE, LogBusy),
        ("open", errno.ENOSPC, LogFull),
    ],
)
def test_room_that_is_not_there_is_told_before_the_block_and_found_later(
    results: ResultsFile, host: Host, call: str, number: int, raised: type[Exception]
) -> None:
    host.failing[call] = number
    for _ in range(2):
        with pytest.raises(raised):
            results.reserve(0, 10)
    host.failing.clear()
    results.reserve(0, 10)
    results.write(0, _block(0))
    assert results.read(0, 10) == _block(0)


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def test_a_reservation_that_fails_otherwise_stops_nobody(results: ResultsFile, host: Host, number: int) -> None:
    host.failing["posix_fallocate"] = number
    results.reserve(0, 10)
    results.write(0, _block(0))
    assert results.read(0, 10) == _block(0)


def test_a_disk_that_cannot_be_read_makes_results_unavailable(results: ResultsFile, host: Host) -> None:
    results.write(0, _block(0))
    host.failing["pread"] = errno.EIO
    with pytest.raises(ResultsUnavailable, match="Input/output error"):
        results.read(0, 10)


def test_room_is_reserved_for_many_blocks_at_once(results: ResultsFile, tmp_path: Path, host: Host) -> None:
    results.reserve(0, 10)
    host.failing["posix_fallocate"] = errno.ENOSPC
    for position in range(10, MIB, 10_000):
        results.reserve(position, 10)
    with pytest.raises(LogFull):
        results.reserve(2 * MIB, 10)
    assert (tmp_path / "results").stat().st_blocks * 512 >= MIB


def test_a_start_needs_no_room_for_what_was_there_and_leaves_nothing_behind_the_log_s_end(
    tmp_path: Path, host: Host
) -> None:
    path = tmp_path / "results"
    first = ResultsFile(path)
    first.write(0, _block(0, 100))
    first.close()
    again = ResultsFile(path)
    assert path.stat().st_size == 100
    again.write(0, _block(0, 60))  # the log's end was torn
    again.reserve(60, 10)
    assert not any(path.read_bytes()[60:])
    with pytest.raises(ResultsUnavailable):
        again.read(60, 10)
    again.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid():
        pytest.skip("mounting a small file system takes root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_on_a_full_disk_nothing_is_lost_and_freed_space_is_noticed(small_disk: Path, clock: ManualClock) -> None:
    results = ResultsFile(small_disk / "results", clock)
    ballast = small_disk / "ballast"
    taken = 0

    def take(blocks: int) -> None:
        nonlocal taken
        for _ in range(blocks):
            results.reserve(taken, 10_000)
            results.write(taken, _block(taken, 10_000))
            taken += 10_000

    take(1)
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with pytest.raises(LogFull):
        take(1000)
    assert taken > MIB - 20_000
    assert results.read(0, taken) == _block(0, taken)
    ballast.unlink()
    take(20)
    assert results.read(0, taken) == _block(0, taken)
    results.close()
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    again = ResultsFile(small_disk / "results", clock)  # a start on a full disk
    for position in range(0, taken, 10_000):
        again.write(position, _block(position, 10_000))
    assert again.read(0, taken) == _block(0, taken)
    again.close()


def test_late_results_are_written_by_whoever_only_tries_again_and_told_of_until_then(
    results: ResultsFile, host: Host, clock: ManualClock
) -> None:
    host.failing["pwrite"] = errno.EIO
    results.write(0, _block(0))
    told = [results.failed]
    host.failing.clear()
    results.try_again()  # it is not time yet
    told.append(results.failed)
    clock.advance(1)
    results.try_again()
    told.append(results.failed)
    assert told == [True, True, False]
    assert results.read(0, 10) == _block(0)


def test_results_that_were_lost_stay_told_of(results: ResultsFile, host: Host, clock: ManualClock) -> None:
    host.failing["pwrite"] = errno.EIO
    for position in range(0, 200, 10):
        results.write(position, _block(position))
    host.failing.clear()
    clock.advance(1)
    results.try_again()
    assert results.failed
    assert results.read(190, 10) == _block(190)


def test_a_file_that_was_closed_is_not_opened_again_by_who_tries_late(
    results: ResultsFile, host: Host, clock: ManualClock
) -> None:
    host.failing["pwrite"] = errno.EIO
    results.write(0, _block(0))
    host.failing.clear()
    clock.advance(1)
    results.close()
    results.try_again()
    assert results._file is None
