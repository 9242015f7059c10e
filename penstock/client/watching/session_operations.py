"""Operations that a watcher meets in the log and that no program submits: they encode to nothing."""

from dataclasses import dataclass
from typing import ClassVar

from penstock.client.errors import InvalidOperation
from penstock.client.operations import Encoded, Operation
from penstock.contract.opcode import END_SESSION, SET_SESSION_BOUNDS


@dataclass(frozen=True, slots=True)
class EndSession(Operation):
    """Ended the session of the client whose key it has; a client submits it by closing."""

    number: ClassVar[int] = END_SESSION
    namespace: int = 0

    def encode(self) -> Encoded:
        """See Operation.

        Raises:
            InvalidOperation: always.
        """
        raise InvalidOperation("a session is ended by closing its client, not by submitting EndSession")


@dataclass(frozen=True, slots=True)
class SetSessionBounds(Operation):
    """Set the bounds on sessions; a node submits it to itself, from its settings."""

    number: ClassVar[int] = SET_SESSION_BOUNDS
    sessions: int
    """At most so many."""
    horizon_ns: int
    """Each is kept for so long at least."""
    result_pages: int
    """So many pages for their results."""
    namespace: int = 0

    def encode(self) -> Encoded:
        """See Operation.

        Raises:
            InvalidOperation: always.
        """
        raise InvalidOperation("bounds on sessions are settings of a node, and not for a client to submit")


@dataclass(frozen=True, slots=True)
class UnknownOperation(Operation):
    """An operation of a newer node, which this client does not know: its record's fields as they are."""

    number: ClassVar[int] = 0
    opcode: int
    key: int
    operand: int
    amount: int
    flags: int
    payload: bytes
    namespace: int = 0

    def encode(self) -> Encoded:
        """See Operation.

        Raises:
            InvalidOperation: always.
        """
        raise InvalidOperation(f"this client does not know operation {self.opcode}: use a newer one")
