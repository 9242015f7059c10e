"""Random walks through a small world: deeper than any search of all its states can go."""

import random
from dataclasses import dataclass

from tests.replication.consensus.world import Budget, State, Violation, World

_WEIGHTS = {
    "deliver": 24,
    "store": 12,
    "sync": 8,
    "propose": 4,
    "heartbeat": 3,
    "read": 2,
    "elect": 1,
    "crash": 1,
    "wipe": 1,
}


@dataclass(frozen=True, slots=True)
class Walked:
    """What a walk saw."""

    state: State
    steps: int
    violation: str = ""
    trace: tuple[str, ...] = ()


def walk(world: World, budget: Budget, seed: int, steps_max: int) -> Walked:
    """Do things at random until nothing more can happen, or something happens that must not."""
    chance = random.Random(seed)
    state = world.begin(budget)
    trace: list[str] = []
    for steps in range(steps_max):
        possible = list(world.actions(state))
        if not possible:
            return Walked(state, steps)
        names = sorted({action.name for action in possible})
        name = chance.choices(names, [_WEIGHTS[name] for name in names])[0]
        action = chance.choice([action for action in possible if action.name == name])
        trace.append(world.described(action))
        try:
            state = world.step(state, action)
        except Violation as violation:
            return Walked(state, steps, str(violation), tuple(trace))
    return Walked(state, steps_max)
