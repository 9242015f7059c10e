"""Small worlds whose every state is looked at."""

import pytest

from replication.consensus.interface.membership import Membership
from tests.replication.consensus.search import search
from tests.replication.consensus.world import Action, Budget, State, World

THREE = Membership(1, frozenset({1, 2, 3}))
STATES_MAX = 100_000
LOST = frozenset({"Heartbeat", "Refused"})
"""Messages that only speed things up, or tell of what Appends tell, too."""


def other_nodes_in_turn(state: State, action: Action) -> bool:
    """Leave out elections that are others' under other names: node 1 is the first to try."""
    return action.name != "elect" or action.node == 1 or bool(state.network)


@pytest.mark.parametrize(
    ("disks_take_time", "budget"),
    [
        (True, Budget(elections=1, blocks=0, crashes=0)),
        (False, Budget(elections=1, blocks=0, crashes=1)),
    ],
)
def test_whole_small_worlds_keep_every_promise(disks_take_time: bool, budget: Budget) -> None:
    world = World(THREE, disks_take_time=disks_take_time, lost=LOST)
    found = search(world, world.begin(budget), STATES_MAX, other_nodes_in_turn)
    assert not found.violation, "\n".join([found.violation, *found.trace])
    assert found.complete
    assert found.states > 4_000


@pytest.mark.slow
@pytest.mark.parametrize("disks_take_time", [False, True])
@pytest.mark.parametrize(
    "budget",
    [
        Budget(elections=1, blocks=1, crashes=0),
        Budget(elections=1, blocks=1, crashes=1),
        Budget(elections=2, blocks=0, crashes=0),
        Budget(elections=2, blocks=1, crashes=1),
        Budget(elections=2, blocks=0, crashes=0, wipes=1),
    ],
)
def test_larger_worlds_keep_every_promise_as_far_as_they_are_looked_at(disks_take_time: bool, budget: Budget) -> None:
    world = World(THREE, disks_take_time=disks_take_time, lost=LOST)
    found = search(world, world.begin(budget), STATES_MAX, other_nodes_in_turn)
    assert not found.violation, "\n".join([found.violation, *found.trace])
    assert found.complete or found.states == STATES_MAX
