"""Open calls: how many of one kind there are, of each connection and of all, and the refusal of more."""

from collections import Counter

from penstock.contract.reasons import Reason
from services.refusal import Refusal


class OpenCalls:
    """Counts calls that may stay open for long. Lives in the event loop.

    A ``peer`` is what `services.rpc.limits.connection.connection_of` gives of a connection.
    """

    def __init__(self, kind: str, *, calls_max: int, connection_calls_max: int) -> None:
        """Allow ``calls_max`` calls of this ``kind``, a plural, and ``connection_calls_max`` of any one connection."""
        assert calls_max > 0
        assert connection_calls_max > 0
        self._kind = kind
        self._calls_max = calls_max
        self._connection_calls_max = connection_calls_max
        self._open: Counter[str] = Counter()
        self._calls = 0

    def __len__(self) -> int:
        return self._calls

    def enter(self, peer: str) -> Refusal | None:
        """Count one more call of ``peer``, to be given to `leave` when it ends; or say why it may not be opened."""
        if self._calls >= self._calls_max:
            return Refusal(
                Reason.CALLS_LIMIT, f"{self._calls:,} {self._kind} are open at the node, as many as may be: try later"
            )
        if self._open[peer] >= self._connection_calls_max:
            return Refusal(
                Reason.CALLS_LIMIT,
                f"{self._open[peer]:,} {self._kind} of this connection are open, as many as may be: end some first",
            )
        self._open[peer] += 1
        self._calls += 1
        return None

    def leave(self, peer: str) -> None:
        """Count one call of ``peer`` less."""
        self._calls -= 1
        self._open[peer] -= 1
        assert self._open[peer] >= 0
        if not self._open[peer]:
            del self._open[peer]
