"""Killed or stopped after any instruction, a process leaks nothing and is in nobody's way."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.arena.single_steps import NOT_ALLOWED
from tests.models.tools import unmeasured

OPERATIONS = {
    # operation: states of the metadata that there are at least
    "allocate": 2,
    "free": 3,
    "adopt": 1,
    "free_of_another_holder": 3,
    "free_run_of_another_holder": 3,
    "allocate_run": 7,
    "allocate_cached_run": 5,
    "allocate_run_without_room": 15,
    "free_run": 3,
    "free_run_with_the_cache_full": 10,
    "free_run_too_large_to_cache": 65,
    "flush_caches": 15,
    "refill": 64,
    "flush": 64,
    "grow": 12,
    "cut_slab": 64,
    "retire_slabs": 128,
    "recover": 128,
}


def single_steps(*arguments: str) -> dict[str, int]:
    command = [sys.executable, "-m", "tests.models.arena.single_steps", *arguments]
    run = subprocess.run(
        command,
        cwd=Path(__file__).parents[3],
        env=unmeasured(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if run.returncode == NOT_ALLOWED and os.environ.get("CI") != "true":
        pytest.skip("this machine does not let a process be traced")
    assert run.returncode == 0, run.stderr
    found: dict[str, int] = json.loads(run.stdout)
    return found


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_process_may_die_or_stop_after_any_instruction_of(operation: str) -> None:
    assert single_steps(operation)["states"] >= OPERATIONS[operation]


@pytest.mark.parametrize("operation", ["allocate_cached_run", "free_run_with_the_cache_full", "flush_caches"])
def test_a_process_may_lose_its_cached_runs_before_any_instruction_of(operation: str) -> None:
    assert single_steps(operation, "--runs-taken")["states"] >= OPERATIONS[operation]
