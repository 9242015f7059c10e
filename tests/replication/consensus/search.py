"""Exhaustive breadth-first search over small worlds."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.replication.consensus.world import Action, State, Violation, World


@dataclass(frozen=True, slots=True)
class Found:
    """What a search saw."""

    states: int
    """Different ones."""
    complete: bool
    """Whether there are no others."""
    depth: int
    """Steps to the last one."""
    violation: str = ""
    trace: tuple[str, ...] = ()
    """The shortest way to the violation, of those that the search tries."""


def search(
    world: World,
    initial: State,
    states_max: int,
    only: Callable[[State, Action], bool] = lambda _state, _action: True,
) -> Found:
    """Look at all states that can be reached from one, up to a bound; end with the first violation.

    ``only`` leaves out actions. What is left out for speed alone are messages that can have no effect any more.
    """
    came_from: dict[State, tuple[State, Action] | None] = {initial: None}
    frontier = [initial]
    depth = 0
    while frontier:
        found: list[State] = []
        for state in frontier:
            for action in list(world.actions(state)):
                if not only(state, action):
                    continue
                try:
                    after = world.without_dead_messages(world.step(state, action))
                except Violation as violation:
                    trace = (*_way(came_from, state), action)
                    return Found(
                        len(came_from), False, depth, str(violation), tuple(world.described(each) for each in trace)
                    )
                if after not in came_from:
                    came_from[after] = state, action
                    found.append(after)
                    if len(came_from) >= states_max:
                        return Found(len(came_from), False, depth + 1)
        frontier = found
        depth += 1
    return Found(len(came_from), True, depth)


def _way(came_from: dict[State, tuple[State, Action] | None], state: State) -> list[Action]:
    way: list[Action] = []
    before = came_from[state]
    while before is not None:
        state, action = before
        way.append(action)
        before = came_from[state]
    return way[::-1]
