"""What can go wrong in the state store."""


class StateStoreError(Exception):
    """Root of the state store's errors."""


class StateFull(StateStoreError):  # noqa: N818  (a condition, named as the queue and the log name theirs)
    """The tables are full. The block was applied in part, so the node must stop; see the message for the way out."""


class BlockOutOfOrder(StateStoreError):  # noqa: N818
    """A block was given that does not follow the last applied one. Nothing was applied."""


class RecordInvalid(StateStoreError):  # noqa: N818
    """A committed record breaks the contract that the edge enforces: the log does not come from a Penstock node."""
