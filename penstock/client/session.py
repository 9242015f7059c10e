"""Idempotency session of a client: the ids of its transactions and frames."""

import secrets

from penstock.client.arguments import integer
from penstock.client.errors import InvalidOperation


class Session:
    """A client id, sequences that never repeat, and the ids of frames.

    Raises:
        InvalidOperation: ``client_id`` or ``next_sequence`` is out of range, or one comes without the other.
    """

    def __init__(self, client_id: int | None, next_sequence: int | None = None) -> None:
        if client_id is not None:
            client_id = integer(client_id, "client_id", 0, (1 << 64) - 1)
        if (client_id is None) != (next_sequence is None):
            raise InvalidOperation(
                "client_id and next_sequence go together: a sequence that was used before, by an earlier run too, is "
                "answered as it was then and does nothing. Leave both out for a session that nobody else has"
            )
        if next_sequence is not None:
            next_sequence = integer(next_sequence, "next_sequence", 1, (1 << 63) - 1)
        self.client_id = client_id if client_id is not None else secrets.randbits(64) | 1
        self.drawn = client_id is None
        """Its id was drawn here, so nobody else goes on with it."""
        self._next_sequence = next_sequence or 1
        self._next_frame_id = 1

    def take_sequences(self, count: int) -> int:
        """The first of ``count`` fresh sequences in a row."""
        first = self._next_sequence
        self._next_sequence += count
        return first

    @property
    def newest_sequence(self) -> int:
        """The newest sequence that was taken; one below the first where none was."""
        return self._next_sequence - 1

    def take_frame_id(self) -> int:
        """An id for one frame, larger than all before."""
        self._next_frame_id += 1
        return self._next_frame_id - 1
