"""Minimising: takes faults away from a schedule that breaks a promise, as long as it still breaks that one."""

from collections.abc import Callable

from simulation.promises.violation import Rule
from simulation.schedule import Outcome, Schedule

Run = Callable[[Schedule], Outcome]


def minimise(schedule: Schedule, rule: Rule, run: Run, tries_max: int = 200) -> Schedule:
    """Return the smallest schedule found: no single one of its faults can go, nor any half of them.

    Source: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (ddmin), on complements alone.
    """
    tries, parts = 0, 2
    while len(schedule.faults) >= 2 and tries < tries_max:
        size = -(-len(schedule.faults) // parts)
        for start in range(0, len(schedule.faults), size):
            smaller = schedule._replace(faults=schedule.faults[:start] + schedule.faults[start + size :])
            tries += 1
            if run(smaller).rule is rule:
                schedule, parts = smaller, max(parts - 1, 2)
                break
        else:
            if parts >= len(schedule.faults):
                break
            parts = min(2 * parts, len(schedule.faults))
    if len(schedule.faults) == 1 and run(schedule._replace(faults=())).rule is rule:
        return schedule._replace(faults=())
    return schedule
