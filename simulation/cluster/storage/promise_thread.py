"""Promise thread: stores a node's promises one after the other; of those that wait, only the newest."""

from collections.abc import Callable

from replication.consensus.interface.effects import StorePromise
from replication.consensus.interface.promise import Promise
from simulation.cluster.storage.device import Device


class PromiseThread:
    """What stores the promises of one run of a node, in the order asked for."""

    def __init__(
        self,
        device: Device,
        store: Callable[[Promise], None],
        tell: Callable[[int], None],
        do: Callable[[Callable[[], None]], None],
    ) -> None:
        """Call ``tell`` with a promise's number once ``store`` has returned; ``do`` runs it in the node."""
        self._device, self._store, self._tell, self._do = device, store, tell, do
        self._waiting: StorePromise | None = None
        self._busy = False

    def submit(self, effect: StorePromise) -> None:
        """Queue a promise."""
        self._waiting = effect
        if not self._busy:
            self._begin()

    def _begin(self) -> None:
        effect, self._waiting = self._waiting, None
        if effect is None:
            return
        self._busy = True

        def end() -> None:
            self.store(effect.promise)
            self._busy = False
            self._tell(effect.number)
            if not self._busy:
                self._begin()

        self._device.complete(lambda: self._do(end))

    def store(self, promise: Promise) -> None:
        """Store a promise, durably."""
        self._store(promise)
