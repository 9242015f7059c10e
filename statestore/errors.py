"""What can go wrong in the state store."""


class StateStoreError(Exception):
    """Root of the state store's errors."""


class StateFull(StateStoreError):
    """The tables are full. The block was applied in part, so the node must stop; see the message for the way out."""


class BlockOutOfOrder(StateStoreError):
    """A block was given that does not follow the last applied one. Nothing was applied."""


class RecordInvalid(StateStoreError):
    """A committed record breaks the contract that the edge enforces: the log does not come from a Penstock node."""
