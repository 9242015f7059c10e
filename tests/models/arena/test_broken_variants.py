"""Each rule of the arena is broken in a copy of it, and the test that is there for the rule has to fail there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.models.arena.single_steps import NOT_ALLOWED
from tests.models.tools import unmeasured

ROOT: Final = Path(__file__).parents[3]


class Broken(NamedTuple):
    """A rule of a file, what to write instead, and what finds it."""

    file: str
    rule: str
    instead: str
    found_by: str
    """A test, or what single steps are taken through."""
    saying: str


VARIANTS: Final = {
    "recovery forgets cached runs": Broken(
        "recovery.py",
        "run = state == layout.CACHED or state == layout.LENT",
        "run = state == layout.LENT",
        "single_steps free_run",
        "its holder has the run cached",
    ),
    "a cached run is lent whatever its length": Broken(
        "runs.py",
        "if packed & layout.RUN_PAGES_MASK == pages:",
        "if packed != 0:",
        "test_runs.py -k as_many_pages",
        "AssertionError",
    ),
    "an old packed run is taken for the run that is returned": Broken(
        "runs.py",
        "if packed & ~layout.RUN_PAGES_MASK == handle:",
        "if packed != 0:",
        "test_runs.py -k length_it_was_lent_with",
        "its holder has the run cached",
    ),
    "a cached run is lent without looking whether it is still there": Broken(
        "runs.py",
        "return bool(cas(words, at, mark(packed, holder, layout.CACHED), mark(packed, holder, state)))",
        "words[np.uint64(at)] = np.uint64(mark(packed, holder, state))\n    return True",
        "single_steps allocate_cached_run --runs-taken",
        "AssertionError",
    ),
    "a cached run has its old generation": Broken(
        "slow_path.py",
        "cached_mark = mark(next_handle, holder, layout.CACHED)",
        "cached_mark = mark(handle, holder, layout.CACHED)",
        "test_runs.py -k makes_the_handles_before_void",
        "AssertionError",
    ),
    "cached runs are in the way of others": Broken(
        "pages.py",
        "if page == NONE and _free_cached_runs(words, holder) > 0:",
        "if page == NONE and holder < 0 and _free_cached_runs(words, holder) > 0:",
        "test_runs.py -k finds_no_room",
        "AssertionError",
    ),
    "the oldest run makes no way": Broken(
        "runs.py",
        "        release_oldest(words, holder)\n    tally",
        "        return\n    tally",
        "test_runs.py -k longest_ago",
        "its holder has the run cached",
    ),
    "a magazine may cache more than it has room for": Broken(
        "magazines.py",
        "limit = min(2 * limit, layout.MAGAZINE_SLOTS_MAX)",
        "limit = 2 * limit",
        "test_magazines.py -k no_further",
        "it has room for so many",
    ),
    "a magazine stays large for the next holder": Broken(
        "magazines.py",
        "for word in (layout.CURSOR, layout.OVERFLOWED, layout.LIMIT):",
        "for word in (layout.CURSOR, layout.OVERFLOWED):",
        "test_magazines.py -k small_again",
        "AssertionError",
    ),
    "a magazine grows for a thread that only lends": Broken(
        "magazines.py",
        "if get(words, magazine + layout.OVERFLOWED) != 0:",
        "if limit > 0:",
        "test_magazines.py -k only_lend",
        "AssertionError",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_it_is_found_when(tmp_path: Path, name: str) -> None:
    broken = VARIANTS[name]
    for package in ("penstock/contract", "pooling", "txqueue", "tests/pooling/arena", "tests/models/arena"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for package in ("penstock", "tests", "tests/models", "tests/pooling"):
        (tmp_path / package / "__init__.py").touch()
    source = tmp_path / "pooling" / "arena" / "kernel" / broken.file
    text = source.read_text()
    assert text.count(broken.rule) == 1, "the rule stands there, to be broken"
    source.write_text(text.replace(broken.rule, broken.instead))
    program, *arguments = broken.found_by.split()
    if program == "single_steps":
        command = ["-m", "tests.models.arena.single_steps", *arguments]
    else:
        command = ["-m", "pytest", "-p", "no:cacheprovider", f"tests/pooling/arena/{program}", *arguments]
    environment = {**unmeasured(), "PYTHONPATH": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if ran.returncode == NOT_ALLOWED and os.environ.get("CI") != "true":
        pytest.skip("this machine does not let a process be traced")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert broken.saying in ran.stdout + ran.stderr
