"""A factory that tells what was done to its things."""

from pooling.core.factory import Factory


class Thing:
    def __init__(self, number: int) -> None:
        self.number = number
        self.uses = 0
        self.fit = True
        self.alive = True


class ThingFactory(Factory[Thing]):
    """Numbers its things from 0 and logs every hook."""

    def __init__(self) -> None:
        self.things: list[Thing] = []
        self.log: list[tuple[str, int]] = []
        self.fail: set[str] = set()
        self.interrupt: set[str] = set()
        """Hooks in which Ctrl-C is pressed the next time."""

    def make(self) -> Thing:
        self._note("make", len(self.things))
        self.things.append(Thing(len(self.things)))
        return self.things[-1]

    def activate(self, item: Thing) -> None:
        self._note("activate", item.number)

    def validate(self, item: Thing) -> bool:
        self._note("validate", item.number)
        return item.fit

    def passivate(self, item: Thing) -> None:
        self._note("passivate", item.number)

    def destroy(self, item: Thing) -> None:
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
