"""Operation numbers: what a transaction does. They are those of ``record.proto``; a test holds the two together."""

from typing import Final

APPEND: Final = 1
PUT: Final = 2
DELETE: Final = 3
CAS: Final = 4
ADD: Final = 5
TRANSFER: Final = 6
OPEN_ACCOUNT: Final = 7
END_SESSION: Final = 8
SET_SESSION_BOUNDS: Final = 9
"""Logged by a node itself, never accepted from a client."""
