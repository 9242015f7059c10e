"""Turns: an executor that runs nothing beside anything. Work runs when somebody waits for its end, or not at all."""

from collections.abc import Callable


class Turn:
    """Work that was asked for."""

    def __init__(self, executor: "TurnExecutor", function: Callable[[], None]) -> None:
        self._executor, self._function = executor, function
        self._done = False

    def join(self) -> None:
        """Do the work now, unless it is done, or its process is dead."""
        if not self._done and not self._executor.dead:
            self._done = True
            self._function()


class TurnExecutor:
    """A `penstock.host.executor.Executor` of one simulated process."""

    def __init__(self) -> None:
        self.dead = False
        """Whether the process has been killed: then nothing runs any more."""

    def start(self, name: str, function: Callable[[], None]) -> Turn:  # noqa: ARG002 - turns need no names
        """Take note of work; whoever joins it does it."""
        return Turn(self, function)
