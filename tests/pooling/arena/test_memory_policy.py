"""A machine that lacks what a memory policy asks for says so, and everything else that goes wrong is an error."""

import mmap

import numpy as np
import pytest

from pooling.arena import memory_policy
from pooling.arena.memory_policy import drop_pages, prefer_huge_pages, prefer_node

PAGES = 4


@pytest.fixture
def pages() -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(mmap.mmap(-1, PAGES * mmap.PAGESIZE), np.uint8)


def test_dropped_pages_read_as_zeros(pages: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> None:
    pages[:] = 1
    assert drop_pages(pages)
    assert not pages.any()


def test_a_private_mapping_cannot_have_holes() -> None:
    private = np.frombuffer(mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.uint8)
    private[:] = 1
    try:
        dropped = drop_pages(private)
    except PermissionError:  # what Linux says; some kernels call it an invalid argument
        dropped = False
    assert not dropped
    assert private.all()


def test_part_of_a_page_is_refused(pages: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> None:
    with pytest.raises(AssertionError, match="whole pages"):
        drop_pages(pages[1:])


def test_a_node_that_is_not_there_is_not_preferred(pages: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> None:
    assert not prefer_node(pages, 999)


@pytest.mark.parametrize(("setting", "granted"), [("always [never]", False), ("[deny] force", False), (None, False)])
def test_a_system_that_grants_no_huge_pages_says_so(
    pages: np.ndarray[tuple[int], np.dtype[np.uint8]],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    setting: str | None,
    granted: bool,
) -> None:
    path = tmp_path_factory.mktemp("sys") / "shmem_enabled"
    if setting is not None:
        path.write_text(setting)
    monkeypatch.setattr(memory_policy, "_SHARED_HUGE_PAGES", path)
    assert prefer_huge_pages(pages) is granted
