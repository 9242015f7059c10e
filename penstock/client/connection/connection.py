"""State of a client's connection, gathered from what its calls meet, and told to the application and to the log."""

import logging
from collections.abc import Callable
from typing import Final

import grpc

from penstock.client.connection.connection_event import ConnectionEvent, ConnectionState
from penstock.client.errors import Refused, ServerError, Unavailable

_logger: Final = logging.getLogger("penstock.client")
_OUT_OF_TIME: Final = grpc.StatusCode.DEADLINE_EXCEEDED.value[0]

Listener = Callable[[ConnectionEvent], None]


class Connection:
    """Turns successes and failures of calls into events: each change is told once. For one event loop.

    Args:
        target: the node.
        listener: called with each event, on the event loop.
        now_s: a clock that does not jump.
    """

    def __init__(self, target: str, listener: Listener | None, now_s: Callable[[], float]) -> None:
        self._target = target
        self._listener = listener
        self._now_s = now_s
        self._works = False
        self._lost_at: float | None = None
        """When it was lost, while it is."""
        self._tries = 0
        self._closed = False

    def reached(self) -> None:
        """The node has taken or answered a call."""
        if self._works or self._closed:
            return
        self._works, self._tries = True, 0
        if self._lost_at is None:
            _logger.info("connected to %s", self._target)
            self._tell(ConnectionEvent(ConnectionState.CONNECTED, self._target))
            return
        outage_s, self._lost_at = self._now_s() - self._lost_at, None
        _logger.info("connected to %s again, after %.1f s", self._target, outage_s)
        self._tell(ConnectionEvent(ConnectionState.RECONNECTED, self._target, outage_s=outage_s))

    def failed(self, error: Refused, retry_in_s: float | None) -> None:
        """A call has ended by ``error``; it is tried again in so many seconds, or not (None).

        Refusals come from a node that is reached, and a deadline says nothing about the connection.
        """
        if self._closed or not isinstance(error, Unavailable | ServerError) or error.code == _OUT_OF_TIME:
            return
        if self._works:
            self._works, self._lost_at = False, self._now_s()
            _logger.warning("connection to %s lost: %s", self._target, error)
            self._tell(ConnectionEvent(ConnectionState.LOST, self._target, error))
        if retry_in_s is not None:
            self._tries += 1
            level = logging.WARNING if self._tries == 1 and self._lost_at is None else logging.DEBUG
            _logger.log(level, "%s not reached, trying again in %d ms: %s", self._target, retry_in_s * 1e3, error)
            self._tell(ConnectionEvent(ConnectionState.RETRYING, self._target, error, retry_in_s))

    def closed(self) -> None:
        """The client was closed."""
        if not self._closed:
            self._closed = True
            _logger.debug("connection to %s closed", self._target)
            self._tell(ConnectionEvent(ConnectionState.CLOSED, self._target))

    def _tell(self, event: ConnectionEvent) -> None:
        if self._listener is None:
            return
        try:
            self._listener(event)
        except Exception:  # a listener is no reason to lose a transaction
            _logger.exception("on_connection raised for %s", event.state.value)
