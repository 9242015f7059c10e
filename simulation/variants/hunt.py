"""Hunt: runs schedules with a broken variant until one breaks a promise."""

from typing import Final, NamedTuple

from simulation.campaign import run_seed
from simulation.schedule import Outcome
from simulation.variants.following import BROKEN_FOLLOWERS
from simulation.variants.leading import BROKEN_LEADERS
from simulation.variants.variant import Variant

VARIANTS: Final = (*BROKEN_LEADERS, *BROKEN_FOLLOWERS)
"""All that the simulator must catch."""


class Catch(NamedTuple):
    """What it took to catch a variant."""

    variant: Variant
    schedules: int
    """Run, the last of which broke a promise; or all that were allowed."""
    outcome: Outcome | None
    """The schedule that did; None where none did."""


def hunt(variant: Variant, schedules_max: int, seed: int = 1) -> Catch:
    """Run schedules with the seeds from ``seed`` on."""
    with variant.applied():
        for count in range(1, schedules_max + 1):
            outcome = run_seed(seed + count - 1)
            if outcome.violation is not None:
                return Catch(variant, count, outcome)
    return Catch(variant, schedules_max, None)
