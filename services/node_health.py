"""Node health: what the node's conditions keep it from, shown in the health of its services and in its status."""

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from services.rpc import state_service, txqueue_service
from services.telemetry.conditions import Ability, Conditions

_UNHEALTHY_WITHOUT: Final = {
    # The node as a whole is what load balancers ask for: one that takes no transactions is to get none.
    Ability.SUBMIT: ("", txqueue_service.SERVICE),
    Ability.WATCH: (state_service.SERVICE,),
}


class NodeHealth:
    """Belongs to the node's event loop; conditions may change in any thread."""

    def __init__(self, conditions: Conditions) -> None:
        """Show what ``conditions`` tells, from `start` on."""
        self._conditions = conditions
        self._set_serving: Callable[[Collection[str]], None] | None = None
        self.phase = "starting"
        """What the node is doing: starting, serving, stopping, or why it failed."""

    def describe(self) -> str:
        """Say what the node is doing and, while it serves, which conditions are there."""
        there = [each.condition.label for each in self._conditions.active()]
        return f"degraded: {', '.join(there)}" if there and self.phase == "serving" else self.phase

    def start(self, set_serving: Callable[[Collection[str]], None]) -> None:
        """Show the health by ``set_serving``, which takes the names of services that are not healthy, and follow it."""
        loop = asyncio.get_running_loop()
        self._set_serving = set_serving
        self._conditions.on_change(lambda: loop.call_soon_threadsafe(self._show))
        self._show()

    def stop(self) -> None:
        """Leave the health as it is from now on."""
        self._conditions.on_change(lambda: None)
        self._set_serving = None

    def _show(self) -> None:
        if self._set_serving is not None:
            stopped = self._conditions.stopped()
            self._set_serving([name for ability in stopped for name in _UNHEALTHY_WITHOUT[ability]])
