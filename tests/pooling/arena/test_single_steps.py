"""Killed or stopped after any instruction, a process leaks nothing and is in nobody's way."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pooling.arena.single_steps import NOT_ALLOWED

OPERATIONS = {
    # operation: states of the books that there are at least
    "allocate": 2,
    "free": 3,
    "adopt": 1,
    "free_of_another_holder": 3,
    "free_run_of_another_holder": 6,
    "allocate_run": 7,
    "free_run": 6,
    "refill": 64,
    "flush": 64,
    "cut_slab": 64,
    "retire_slabs": 128,
    "recover": 128,
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_process_may_die_or_stop_after_any_instruction_of(operation: str) -> None:
    command = [sys.executable, "-m", "tests.pooling.arena.single_steps", operation]
    run = subprocess.run(
        command, cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=120, check=False
    )
    if run.returncode == NOT_ALLOWED and os.environ.get("CI") != "true":
        pytest.skip("this machine does not let a process be traced")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["states"] >= OPERATIONS[operation]
