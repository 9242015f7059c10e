"""Connection events: what becomes of a client's connection to its node."""

from dataclasses import dataclass
from enum import Enum

from penstock.client.errors import Refused


class ConnectionState(Enum):
    """What has happened to a connection."""

    CONNECTED = "connected"
    """The node was reached for the first time."""
    LOST = "lost"
    """It broke, or the node stopped answering; what is unanswered is sent again."""
    RETRYING = "retrying"
    """The node was not reached; the next try comes after ``retry_in_s``."""
    RECONNECTED = "reconnected"
    """The node was reached again, ``outage_s`` after the connection was lost."""
    CLOSED = "closed"
    """The client was closed; there are no more events."""


@dataclass(frozen=True, slots=True)
class ConnectionEvent:
    """One event of a client's connection."""

    state: ConnectionState
    target: str
    """The node, as the client was given it."""
    error: Refused | None = None
    """Of LOST and RETRYING: the reason."""
    retry_in_s: float | None = None
    """Of RETRYING."""
    outage_s: float | None = None
    """Of RECONNECTED."""
