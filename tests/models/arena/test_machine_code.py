"""A hit in a magazine is a handful of plain instructions."""

import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

SYMBOL = re.compile(r"\$([A-Za-z_]\w*)|([A-Za-z_]\w*)@|call\w*\s+([A-Za-z_]\w*)")
"""However it is called: through a register, a table, or directly."""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="reads x86 machine code")
@pytest.mark.parametrize("operation", ["allocate", "free"])
def test_lending_and_returning_lock_nothing_and_call_only_the_slow_path(operation: str) -> None:
    command = [sys.executable, "-m", "tests.models.arena.hot_path", operation]
    run = subprocess.run(
        command, cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    instructions = re.findall(r"^\t([a-z].*)$", run.stdout, re.MULTILINE)
    assert 20 < len(instructions) < 200
    assert not [instruction for instruction in instructions if re.match(r"lock|xchg|mfence", instruction)]
    named = {"".join(names) for instruction in instructions for names in SYMBOL.findall(instruction)}
    assert len(named) == 1
    assert f"{operation}_slowly" in named.pop()
