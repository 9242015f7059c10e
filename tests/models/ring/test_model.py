"""The ring's models hold in every state they can reach, and would not if any of the ring's rules were broken."""

import os
import re
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.models.tools import require

FOLDER: Final = Path(__file__).parent / "model"


class Bounds(NamedTuple):
    """A model, and how large its world is."""

    model: str
    sizes: str = ""

    @property
    def defines(self) -> list[str]:
        return [f"-D{size}" for size in self.sizes.split()]


RACE: Final = Bounds("ring", "FRAMES_OF_FIRST=2 FRAMES=4 CONSUMERS=1 BUFFER=4 BATCH=1")
TAKE_OVER: Final = Bounds("ring", "PRODUCERS=1 FRAMES=4 SLOTS=4 BUFFER=2")
DEATH: Final = Bounds("ring", "FRAMES=1 CONSUMERS=1 BUFFER=2 DEATHS=1 HEIRS=1")
HEIR: Final = Bounds("ring", "PRODUCERS=1 FRAMES=2 BUFFER=2 DEATHS=1 HEIRS=1 CONSUMERS=1")
PARKING: Final = Bounds("parking")
CLAIM: Final = Bounds("claim")

LARGER: Final = [
    Bounds("ring", "PRODUCERS=2 CONSUMERS=2 FRAMES=2 BUFFER=2"),
    Bounds("ring", "PRODUCERS=2 CONSUMERS=2 FRAMES=2 BATCH=1"),
    Bounds("ring", "PRODUCERS=2 CONSUMERS=2 FRAMES=1 DEATHS=1"),
    Bounds("ring", "PRODUCERS=2 CONSUMERS=2 FRAMES_OF_FIRST=1 FRAMES=4 BATCH=1"),
    Bounds("ring", "PRODUCERS=1 CONSUMERS=3 FRAMES=3 SLOTS=4 BUFFER=2"),
    Bounds("ring", "PRODUCERS=3 CONSUMERS=1 FRAMES=1 SLOTS=4"),
]

CAUGHT_IN: Final = {
    RACE: """FRAME_AFTER_SLOT SLOT_STORED TAIL_STORED TAIL_BEFORE_SLOT LAP_NOT_CHECKED SLOTS_NOT_RESERVED
        SLOTS_NOT_CHECKED HEAD_BEFORE_COPY""",
    TAKE_OVER: """BUFFER_NOT_CHECKED FRAME_BEFORE_ROOM OLDEST_AFTER_FRAME ALL_COMMITTED READ_ALONE HEAD_STORED
        READ_BEFORE_COPY READ_BEFORE_HEAD EPOCH_IGNORED FRAME_NOT_SOUGHT CURSOR_TRUSTED OLDEST_NOT_LOOKED_AT_AGAIN""",
    DEATH: "TAIL_NOT_HELPED FRAME_BEFORE_WORD",
    HEIR: "WAITING_OVERWRITTEN LAP_CONTINUED",
    PARKING: """MARK_STORED_PLAINLY MARK_AFTER_LOOK MARK_NOT_COMPARED NO_TIME_LIMIT SLOT_STORED_PLAINLY
        LOOK_BEFORE_SLOT NOT_WOKEN""",
    CLAIM: "NAME_ALONE CLAIM_STORED EPOCH_NOT_HELPED EPOCH_STORED RESIGNED_BY_NAME",
}
"""For each rule, the smallest of these worlds in which breaking it shows."""

BROKEN: Final = [(bounds, rule) for bounds, rules in CAUGHT_IN.items() for rule in rules.split()]


def numbers(model: str) -> dict[str, int]:
    """The rules that a model can break."""
    rules = re.findall(r"^#define (\w+) (\d+) /\* [\w-]+: ", (FOLDER / f"{model}.pml").read_text(), re.MULTILINE)
    return {name: int(number) for name, number in rules}


class Checkers:
    """Compiles a model for its bounds once, with all of its broken variants, and explores all of its states."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._built: dict[Bounds, Path] = {}

    def check(self, bounds: Bounds, rule: int) -> tuple[str, list[Path]]:
        """What the checker says, and the error trails that it wrote; rule 0 breaks nothing."""
        if bounds not in self._built:
            self._built[bounds] = self._build(bounds)
        run = self._built[bounds] / f"run{rule}"
        run.mkdir()
        checked = subprocess.run(
            [run.parent / "pan", "-m100000", "-n", "-w22"],
            cwd=run,
            env=os.environ | {"BROKEN": str(rule)},
            capture_output=True,
            text=True,
        )
        return checked.stdout, list(run.glob("*.trail"))

    def _build(self, bounds: Bounds) -> Path:
        spin, compiler = require("spin", "spin"), require("gcc", "gcc")
        folder = self._folder / str(len(self._built))
        folder.mkdir()
        model = FOLDER / f"{bounds.model}.pml"
        for command in (
            [spin, "-a", "-DVARIANTS", *bounds.defines, str(model)],
            [compiler, "-O1", "-w", "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=8000", "-o", "pan", "pan.c"],
        ):
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
        return folder


@pytest.fixture(scope="module")
def checkers(tmp_path_factory: pytest.TempPathFactory) -> Checkers:
    return Checkers(tmp_path_factory.mktemp("models"))


def assert_holds(checkers: Checkers, bounds: Bounds) -> None:
    report, trails = checkers.check(bounds, 0)
    assert "errors: 0" in report, report
    assert "max search depth too small" not in report
    assert "pan: reached -DMEMLIM" not in report
    assert not trails


@pytest.mark.parametrize("bounds", CAUGHT_IN, ids=str)
def test_the_model_loses_repeats_reorders_tears_and_stalls_nothing(checkers: Checkers, bounds: Bounds) -> None:
    assert_holds(checkers, bounds)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("bounds", LARGER, ids=str)
def test_the_model_holds_in_larger_worlds(checkers: Checkers, bounds: Bounds) -> None:
    assert_holds(checkers, bounds)


@pytest.mark.parametrize(("bounds", "rule"), BROKEN, ids=[rule for _, rule in BROKEN])
def test_breaking_a_rule_breaks_the_model(checkers: Checkers, bounds: Bounds, rule: str) -> None:
    report, trails = checkers.check(bounds, numbers(bounds.model)[rule])
    assert "errors: 1" in report, report
    assert len(trails) == 1


def test_every_rule_of_every_model_is_broken_once() -> None:
    rules = [name for path in FOLDER.glob("*.pml") for name in numbers(path.stem)]
    assert sorted(rules) == sorted(rule for _, rule in BROKEN)
