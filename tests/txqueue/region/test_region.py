"""A region is what it says, or is refused with a reason."""

import errno
import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from txqueue.errors import RegionError, RegionForeign, RegionTruncated, RegionVersionUnsupported
from txqueue.region.region import HEADER_WORDS, Region


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "region"
    with Region.create(path, 1 << 16, kind="test", version=3) as region:
        region.words[HEADER_WORDS] = 42
        region.complete()
    return path


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_what_one_writes_the_other_sees(path: Path) -> None:
    with Region.attach(path, kind="test", version=3) as one, Region.attach(path, kind="test", version=3) as other:
        assert one.words[HEADER_WORDS] == 42
        one.words[-1] = 7
        assert other.words[-1] == 7


def test_a_region_without_a_name_is_attached_by_its_path() -> None:
    with Region.create(None, 4096, kind="test", version=1) as region:
        region.complete()
        with Region.attach(region.path, kind="test", version=1) as other:
            region.words[9] = 5
            assert other.words[9] == 5


def test_untouched_pages_take_no_space(tmp_path: Path) -> None:
    with Region.create(tmp_path / "large", 1 << 32, kind="test", version=1):
        assert (tmp_path / "large").stat().st_blocks * 512 < 1 << 20


def test_arrays_outlive_the_region(path: Path) -> None:
    region = Region.attach(path, kind="test", version=3)
    words = region.words
    region.close()
    region.close()
    assert words[HEADER_WORDS] == 42
    with pytest.raises(RegionError, match="closed"):
        _ = region.words


def test_creating_twice_is_refused(path: Path) -> None:
    with pytest.raises(RegionError, match="exists"):
        Region.create(path, 4096, kind="test", version=3)


def test_an_unusable_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegionError, match="cannot create"):
        Region.create(tmp_path / "missing" / "region", 4096, kind="test", version=1)
    with pytest.raises(RegionError, match="cannot open"):
        Region.attach(tmp_path / "missing", kind="test", version=1)


def test_another_kind_is_refused_by_name(path: Path) -> None:
    with pytest.raises(RegionForeign, match="kind 'test', not 'ring'"):
        Region.attach(path, kind="ring", version=3)


def test_another_version_is_refused(path: Path) -> None:
    with pytest.raises(RegionVersionUnsupported, match="version 3"):
        Region.attach(path, kind="test", version=4)


def test_a_foreign_file_is_refused(path: Path) -> None:
    overwrite(path, 0, b"SQLite format 3\0")
    with pytest.raises(RegionForeign, match="not a region"):
        Region.attach(path, kind="test", version=3)


def test_the_other_byte_order_is_named(path: Path) -> None:
    path.write_bytes(np.fromfile(path, "<u8").astype(">u8").tobytes())
    with pytest.raises(RegionForeign, match="byte order"):
        Region.attach(path, kind="test", version=3)


@pytest.mark.parametrize("size_bytes", [0, 63, 64, 4096, (1 << 16) - 8])
def test_a_truncated_file_is_refused(path: Path, size_bytes: int) -> None:
    os.truncate(path, size_bytes)
    with pytest.raises(RegionTruncated):
        Region.attach(path, kind="test", version=3)


def test_an_incomplete_region_is_refused(tmp_path: Path) -> None:
    with (
        Region.create(tmp_path / "new", 4096, kind="test", version=1),
        pytest.raises(RegionTruncated, match="not complete"),
    ):
        Region.attach(tmp_path / "new", kind="test", version=1)


def test_a_region_whose_creator_has_but_made_the_file_is_incomplete_not_foreign(tmp_path: Path) -> None:
    path = tmp_path / "new"
    path.touch()
    for size_bytes in (0, 4096):
        os.truncate(path, size_bytes)
        with pytest.raises(RegionTruncated, match="not complete"):
            Region.attach(path, kind="test", version=1)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(RegionError):
            Region.attach(path, kind="test", version=1)


@pytest.mark.parametrize("size_bytes", [1 << 62, 1 << 70])
def test_a_region_that_cannot_be_mapped_is_refused_and_leaves_nothing(tmp_path: Path, size_bytes: int) -> None:
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(RegionError, match="ask for less"):
        Region.create(tmp_path / "vast", size_bytes, kind="test", version=1)
    assert not (tmp_path / "vast").exists()
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


@pytest.mark.parametrize("failure", [OSError(errno.ENOMEM, "no memory"), ValueError("longer than the file")])
def test_a_region_that_cannot_be_mapped_any_more_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(mmap, "mmap", fail)
    with pytest.raises(RegionError, match="cannot map"):
        Region.attach(path, kind="test", version=3)


def test_reserved_bytes_have_their_space_and_the_others_none(tmp_path: Path) -> None:
    with Region.create(tmp_path / "sparse", 1 << 24, kind="test", version=1) as region:
        region.reserve(1 << 20, 1 << 20)
        assert 1 << 20 <= (tmp_path / "sparse").stat().st_blocks * 512 < 1 << 21


def test_where_there_is_no_space_a_reservation_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", fail)
    with Region.attach(path, kind="test", version=3) as region, pytest.raises(RegionError, match="No space left"):
        region.reserve(0, 4096)
