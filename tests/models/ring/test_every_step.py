"""SIGKILL and SIGSTOP between any two instructions of a claim, a publication and a dequeue."""

import platform
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.tools import unmeasured

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="steps through x86 machine code")

REGISTRATIONS = ["registration-kill", "registration-stop"]
SCENES = ["producer-kill", "producer-stop", "consumer-kill", "consumer-stop", "consumer-overwritten"]


def run(scene: str, first: int, every: int) -> int:
    command = [sys.executable, "-m", "tests.models.ring.stepping", scene, "--first", str(first), "--every", str(every)]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[3], env=unmeasured(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command[1:])}\n{done.stderr[-3000:]}"
    return int(done.stdout)


@pytest.mark.parametrize("scene", SCENES)
def test_nothing_is_lost_repeated_or_held_up_at_chosen_steps(scene: str) -> None:
    assert run(scene, first=1, every=53) > 5


@pytest.mark.parametrize("scene", SCENES)
def test_nothing_is_lost_repeated_or_held_up_at_random_steps(scene: str) -> None:
    chance = random.Random()
    assert run(scene, first=chance.randrange(60), every=chance.randrange(60, 90)) > 3


def test_no_consumer_follows_a_header_that_was_overwritten_since_it_looked() -> None:
    assert run("consumer-overwritten", first=0, every=2) > 150


@pytest.mark.parametrize("scene", REGISTRATIONS)
def test_a_place_is_given_to_one_at_any_step(scene: str) -> None:
    assert run(scene, first=0, every=1) > 50


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("scene", SCENES)
def test_nothing_is_lost_repeated_or_held_up_at_any_step(scene: str) -> None:
    assert run(scene, first=0, every=1) > 300
