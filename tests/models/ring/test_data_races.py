"""The ring in C++ under ThreadSanitizer: no data race, nothing lost, repeated or torn; each planted fault is found."""

import os
import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.models.tools import require

SOURCE: Final = Path(__file__).parent / "model" / "ring.cpp"
RULES: Final = re.findall(r"^    ([A-Z_]+), +// \w+: ", SOURCE.read_text(), re.MULTILINE)
NOTHING: Final = 0
RACE: Final = 66
TRIES: Final = 40
"""A fault shows only where threads happen to meet."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ring") / "ring"
    # The sanitizer knows no fences. Its reports do not depend on the only one: what it orders is atomic.
    flags = ["-std=c++17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-tsan", "-fsanitize=thread", "-pthread"]
    compiler = require("g++", "g++")
    done = subprocess.run([compiler, *flags, "-o", path, SOURCE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return path


def run(program: Path, broken: int) -> subprocess.CompletedProcess[str]:
    # Without random addresses, of which some kernels use more than the sanitizer can cope with.
    return subprocess.run(
        [require("setarch", "util-linux"), "-R", program, str(broken)],
        env=os.environ | {"TSAN_OPTIONS": f"halt_on_error=1 exitcode={RACE}"},
        capture_output=True,
        text=True,
    )


def test_the_ring_has_no_data_race_and_loses_nothing(program: Path) -> None:
    for _ in range(10):
        done = run(program, NOTHING)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", RULES)
def test_a_broken_rule_is_found(program: Path, rule: str) -> None:
    assert any(run(program, 1 + RULES.index(rule)).returncode in (RACE, 1) for _ in range(TRIES))
