"""A factory of fake connections that records what is done to them."""

from pooling.core.factory import Factory


class Connection:
    """Valid and open as long as nobody says otherwise."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.uses = 0
        self.valid = True
        self.alive = True


class ConnectionFactory(Factory[Connection]):
    """Numbers its connections from 0 and records every hook."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.log: list[tuple[str, int]] = []
        self.fail: set[str] = set()
        self.interrupt: set[str] = set()
        """Hooks in which Ctrl-C is pressed the next time."""

    def make(self) -> Connection:
        self._note("make", len(self.connections))
        self.connections.append(Connection(len(self.connections)))
        return self.connections[-1]

    def activate(self, item: Connection) -> None:
        self._note("activate", item.number)

    def validate(self, item: Connection) -> bool:
        self._note("validate", item.number)
        return item.valid

    def passivate(self, item: Connection) -> None:
        self._note("passivate", item.number)

    def destroy(self, item: Connection) -> None:
        item.alive = False
        self._note("destroy", item.number)

    def hooks(self) -> list[str]:
        """What was called since the last question."""
        hooks = [hook for hook, _ in self.log]
        self.log.clear()
        return hooks

    def _note(self, hook: str, number: int) -> None:
        self.log.append((hook, number))
        if hook in self.interrupt:
            self.interrupt.remove(hook)
            raise KeyboardInterrupt
        if hook in self.fail:
            raise RuntimeError(f"{hook} failed")
