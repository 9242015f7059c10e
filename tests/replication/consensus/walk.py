"""Random walks through a small world: deeper than any search of all its states can go."""

import random
from dataclasses import dataclass, replace

from replication.consensus.interface.membership import Membership
from tests.replication.consensus.world import TIMELESS, Budget, State, Violation, World

CRASHES = Budget(elections=4, blocks=6, crashes=4, heartbeats=12, reads=4)
LOST_DISKS = Budget(elections=4, blocks=6, crashes=2, wipes=2, heartbeats=12, reads=2)

_WEIGHTS: dict[str, float] = {
    "deliver": 24,
    "store": 12,
    "sync": 8,
    "propose": 4,
    "heartbeat": 3,
    "read": 2,
    "elect": 1,
    "crash": 0.5,
    "wipe": 0.3,
}
_PARTITION = 0.05
_STRAY = 0.02
_NEWEST = 0.5


@dataclass(frozen=True, slots=True)
class Walked:
    """What a walk saw, or many."""

    state: State | None
    """The last one."""
    steps: int
    violation: str = ""
    trace: tuple[str, ...] = ()
    walks: int = 1
    committed: int = 0
    """Blocks."""
    leaders: int = 0


def many_walks(membership: Membership, seeds: range, steps_max: int = 300) -> Walked:
    """Walk once for each seed, under changing rules; return the first walk with a violation, else all together."""
    walked = Walked(None, 0, walks=0)
    for seed in seeds:
        config = replace(TIMELESS, message_bytes=100 if seed % 2 else TIMELESS.message_bytes)
        world = World(membership, config, disks_take_time=seed % 5 != 0)
        last = walk(world, LOST_DISKS if seed % 3 == 0 else CRASHES, seed, steps_max)
        walked = Walked(
            last.state,
            walked.steps + last.steps,
            last.violation and f"seed {seed}: {last.violation}",
            last.trace,
            walked.walks + 1,
            walked.committed + last.committed,
            walked.leaders + last.leaders,
        )
        if walked.violation:
            break
    return walked


def walk(world: World, budget: Budget, seed: int, steps_max: int) -> Walked:
    """Do things at random until nothing more can happen, or something happens that must not.

    For a while only some of the nodes hear each other, then others do: so leaders change while blocks are half-way.
    Now and then a message of long ago arrives.
    """
    chance = random.Random(seed)
    state = world.begin(budget)
    trace: list[str] = []
    together: set[int] = set(world.node_numbers)
    for steps in range(steps_max):
        if chance.random() < _PARTITION:
            together = set(chance.sample(world.node_numbers, chance.randint(2, len(world.node_numbers))))
        possible = [
            action
            for action in world.actions(state)
            if action.name != "deliver" or world.arrives(action.what, together) or chance.random() < _STRAY
        ]
        if not possible:
            together = set(world.node_numbers)
            if not any(True for _ in world.actions(state)):
                return Walked(state, steps, "", tuple(trace), 1, len(state.committed), len(state.led))
            continue
        names = sorted({action.name for action in possible})
        name = chance.choices(names, [_WEIGHTS[name] for name in names])[0]
        those = [action for action in possible if action.name == name]
        # Those that were sent last come first, often.
        action = those[-1] if chance.random() < _NEWEST else chance.choice(those)
        trace.append(world.described(action))
        try:
            state = world.step(state, action)
        except Violation as violation:
            return Walked(state, steps, str(violation), tuple(trace))
    return Walked(state, steps_max, "", tuple(trace), 1, len(state.committed), len(state.led))
