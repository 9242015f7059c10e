"""Errors of the state store."""


class StateStoreError(Exception):
    """Root of the state store's errors."""


class StateFull(StateStoreError):
    """The tables are full. The block was applied in part, so the node must stop; see the message for the way out."""


class AnswerTooLarge(StateStoreError):
    """The values asked for are longer together than the caller allows. None was copied.

    Attributes:
        values_bytes: their length together.
        values_bytes_max: the most that was allowed.
    """

    def __init__(self, values_bytes: int, values_bytes_max: int) -> None:
        super().__init__(
            f"the values asked for have {values_bytes} bytes together, an answer at most {values_bytes_max}; "
            "ask for fewer keys at a time"
        )
        self.values_bytes = values_bytes
        self.values_bytes_max = values_bytes_max


class BlockOutOfOrder(StateStoreError):
    """A block was given that does not follow the last applied one. Nothing was applied."""


class RecordInvalid(StateStoreError):
    """A committed record breaks the contract that admission enforces: the log does not come from a Penstock node."""
