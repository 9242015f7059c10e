"""A node may have as many descriptors as the system allows, and knows how many it has."""

import os
import resource
from collections.abc import Iterator

import pytest

from services.runtime import descriptors


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_is_raised_to_the_hard_one(limits: tuple[int, int]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    assert descriptors.raise_limit() == limits[1]
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (limits[1], limits[1])
    assert descriptors.raise_limit() == limits[1], "once more changes nothing"


def test_what_is_used_and_what_is_left_add_up_to_the_limit() -> None:
    used, left = descriptors.used(), descriptors.left()
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(50)]
    more, fewer = descriptors.used(), descriptors.left()
    for each in opened:
        os.close(each)
    assert (more - used, left - fewer) == (50, 50)
    assert more + fewer == used + left == descriptors.limit()
