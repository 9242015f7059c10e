"""State capacity: whether the state's tables are certain to hold a frame, asked before it is in the log."""

from services.pipeline.pending_frames import PendingFrames
from statestore.capacity import growth_bytes_max
from statestore.state_machine import StateMachine


class StateCapacity:
    """Upper bound on the bytes that unanswered frames may still add to the tables, against the bytes left.

    A block that does not fit its tables stops the node, and again at every start: it is in the log for good. So a frame
    is admitted only where it fits, whatever its transactions turn out to do.
    """

    def __init__(self, state: StateMachine, pending_frames: PendingFrames) -> None:
        self._state = state
        self._pending_frames = pending_frames

    def fits(self, records: int, payload_bytes: int) -> bool:
        """Whether a frame of this size fits besides those that have not been answered yet."""
        # Read in this order: what is applied in between is then counted twice, and never not at all.
        records += self._pending_frames.records
        payload_bytes += self._pending_frames.payload_bytes
        return growth_bytes_max(records, payload_bytes) <= self._state.free_bytes
