"""The allocator keeps large messages in its heap, and what only the start needed goes back."""

import ctypes
import gc
import subprocess
import sys
from pathlib import Path

import pytest

from services.runtime import malloc_tuning

LARGE = """
from services.runtime import malloc_tuning
import ctypes, re
assert malloc_tuning.keep_large_messages_in_the_heap() is True
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
address = libc.malloc(ctypes.c_size_t(640_000))
(heap,) = [line for line in open("/proc/self/maps") if line.rstrip().endswith("[heap]")]
start, end = (int(bound, 16) for bound in re.match(r"(\\w+)-(\\w+)", heap).groups())
assert start <= address < end
"""

SETTLE = """
import gc
gc.disable()
import llvmlite.binding
from services.runtime import malloc_tuning
before = malloc_tuning.resident_bytes()[0]
malloc_tuning.settle_after_start()
assert malloc_tuning.resident_bytes()[0] < before - (4 << 20), "the compiler's code is still resident"
assert gc.isenabled()
assert gc.get_freeze_count() > 1000
llvmlite.binding.parse_assembly("define void @f() { ret void }")  # and comes again where it is needed
"""


@pytest.mark.parametrize("program", [LARGE, SETTLE], ids=["large messages", "settle"])
def test_in_a_process_of_its_own(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_c_library_without_the_choice_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(_: object) -> object:
        raise OSError("no C library")

    monkeypatch.setattr(ctypes, "CDLL", no_library)
    assert malloc_tuning.keep_large_messages_in_the_heap() is False
    try:
        malloc_tuning.settle_after_start()
    finally:
        gc.unfreeze()


SMAPS = """\
55d0c0000000-55d0c0001000 r-xp 00000000 08:01 11 /usr/lib/libllvmlite.so
Rss:                   4 kB
Anonymous:             0 kB
55d0c0001000-55d0c0002000 r--p 00001000 08:01 11 /usr/lib/libllvmlite.so
Rss:                   4 kB
Anonymous:             4 kB
55d0c0002000-55d0c0003000 rw-p 00002000 08:01 11 /usr/lib/libllvmlite.so
Rss:                   4 kB
Anonymous:             0 kB
7f0000000000-7f0000010000 rw-s 00000000 00:01 12 /memfd:penstock-state (deleted)
Rss:                  64 kB
Anonymous:             0 kB
7f0000010000-7f0000020000 rw-s 00000000 08:01 13 /data/log/0000000001.segment
Rss:                  32 kB
Anonymous:             0 kB
7f0000020000-7f0000030000 rw-p 00000000 00:00 0
Rss:                   8 kB
Anonymous:             8 kB
"""


@pytest.fixture
def smaps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _: SMAPS)


@pytest.mark.usefixtures("smaps")
def test_resident_memory_tells_tables_and_segments_apart() -> None:
    assert malloc_tuning.resident_bytes() == (116 << 10, 96 << 10)


@pytest.mark.usefixtures("smaps")
def test_only_pages_that_hold_nothing_but_the_file_s_bytes_are_given_back() -> None:
    assert list(malloc_tuning._clean_pages_of("libllvmlite")) == [(0x55D0C0000000, 0x55D0C0001000)]
