"""The state machine keeps its invariants: its tests pass with kernels that assert them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from txqueue.jit.debug_build import CHECKED

FOLDER = Path(__file__).parent
FILES = ("test_invariants", "test_against_model", "test_chains")


@pytest.mark.skipif(CHECKED, reason="this is the debug build")
def test_the_tests_pass_in_a_debug_build_and_every_broken_invariant_is_found() -> None:
    files = [str(FOLDER / f"{name}.py") for name in FILES]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-rs", "-p", "no:cacheprovider", *files],
        env={**os.environ, "PENSTOCK_DEBUG_KERNELS": "1"},
        cwd=FOLDER.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert not re.search(r"\bskipped\b|SKIPPED", run.stdout), run.stdout
