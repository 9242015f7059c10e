"""Promise store: the record of a node's promise, atomic and lost until it is synced."""

from random import Random

from replication.consensus.interface.promise import Promise


class PromiseStore:
    """One record, replaced whole. A crash before `sync` leaves the last synced or the new one."""

    def __init__(self) -> None:
        self.stored: Promise | None = None
        """What a start finds."""
        self._written: Promise | None = None

    def write(self, promise: Promise) -> None:
        """Begin to replace the record."""
        self._written = promise

    def sync(self) -> None:
        """Make what was written durable."""
        if self._written is not None:
            self.stored, self._written = self._written, None

    def crash(self, rng: Random) -> None:
        """Lose what was not synced, or not."""
        if self._written is not None and rng.random() < 0.5:
            self.stored = self._written
        self._written = None

    def wipe(self) -> None:
        """Forget everything."""
        self.stored = self._written = None
