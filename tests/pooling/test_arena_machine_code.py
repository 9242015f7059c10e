"""What hits a magazine is a handful of plain instructions."""

import platform
import re
from typing import Any

import pytest
from numba import njit

from pooling import arena_kernels


def machine_code(function: Any) -> str:
    """The function's own code, without the wrappers for calls from Python. Compiled anew: a cache keeps no assembly."""
    compiler: Any = njit
    compiled = compiler([function.arguments], nogil=True, _nrt=False)(function.py_func)
    assembly: str = next(iter(compiled.inspect_asm().values()))
    return re.sub(r"[\t ]+", " ", assembly[: assembly.index("_ZN7cpython")])


@pytest.mark.skipif(platform.machine() != "x86_64", reason="reads x86 machine code")
@pytest.mark.parametrize("operation", ["allocate", "free"])
def test_lending_and_returning_lock_nothing_and_call_only_the_slow_way(operation: str) -> None:
    code = machine_code(getattr(arena_kernels, operation))
    assert not re.search(r"^ lock ", code, re.MULTILINE)
    called = {name for name in re.findall(r"\$([A-Za-z_]\w*)", code) if not name.startswith("_ZL")}
    assert all(f"{operation}_slowly" in name for name in called)
    instructions = [line for line in code.splitlines() if line.startswith(" ") and not line.startswith(" .")]
    assert len(instructions) < 200
