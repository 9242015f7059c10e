"""The state's memory is in huge pages where the system has them, and there where only shared memory may be had."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from statestore.kernel.layout import HUGE_PAGE_BYTES
from statestore.memory import state_words
from tests.statestore.blocks import Feeder, add

SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")
UNDER_A_LIMIT = """
import resource
resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))
from statestore.state_machine import StateMachine
from tests.statestore.blocks import Feeder, opened
with StateMachine(bytes_max=8 << 30) as state:
    print(Feeder(state).apply(opened(1)))
"""


def mapping_of(address: int) -> str:
    """What the kernel says of the mapping that an address lies in."""
    for entry in re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text()):
        first, last = (int(end, 16) for end in entry.split(" ", 1)[0].split("-"))
        if first <= address < last:
            return entry
    raise AssertionError(f"nothing is mapped at {address:x}")


@pytest.mark.skipif(
    not SWITCH.exists() or "[never]" in SWITCH.read_text(), reason="this system gives nobody a huge page"
)
def test_what_fills_up_densely_gets_huge_pages_and_the_rest_takes_what_is_touched() -> None:
    words = state_words(16 << 20, [range(4 << 20, 8 << 20)])
    assert words.ctypes.data % HUGE_PAGE_BYTES == 0
    words[(4 << 20) // 8] = words[(12 << 20) // 8] = 1
    dense, sparse = (mapping_of(words.ctypes.data + at) for at in (4 << 20, 12 << 20))
    assert re.search(r"AnonHugePages: +2048 kB", dense)
    assert re.search(r"Rss: +4 kB", sparse)


def test_no_core_dump_shows_the_state() -> None:
    words = state_words(4 << 20, [range(2 << 20, 4 << 20)])
    for at in (0, 2 << 20):
        flags = re.search(r"VmFlags: (.*)", mapping_of(words.ctypes.data + at))
        assert flags is not None
        assert "dd" in flags.group(1).split()


def test_memory_that_begins_is_zero_and_is_given_back(feeder: Feeder) -> None:
    address = feeder.state._words.ctypes.data
    assert feeder.apply(add(b"k", 1)) == [1]
    feeder.state.close()
    assert not any(f"{address:x}-" in line for line in Path("/proc/self/maps").read_text().splitlines())
    assert not np.any(state_words(4 << 20, []))


def test_a_state_larger_than_the_limit_on_private_memory_begins_all_the_same() -> None:
    command = [sys.executable, "-c", UNDER_A_LIMIT]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (finished.stdout, finished.stderr) == ("[1]\n", "")
