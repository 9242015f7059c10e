"""Whether the state's tables can take a frame: asked at the edge, since after the log it would be too late."""

from services.pipeline.pending_frames import PendingFrames
from statestore.capacity import growth_bytes_max
from statestore.state_machine import StateMachine


class StateCapacity:
    """Counts what frames that are under way may still make of the tables, at the worst, as taken.

    A block that does not fit its tables stops the node, and again at every start: it is in the log for good. So a frame
    is let in only where it fits, whatever its transactions turn out to do.
    """

    def __init__(self, state: StateMachine, pending_frames: PendingFrames) -> None:
        self._state = state
        self._pending_frames = pending_frames

    def fits(self, records: int, payload_bytes: int) -> bool:
        """Whether a frame of so much fits besides those that have not been answered yet."""
        # Read in this order: what is applied in between is then counted twice, and never not at all.
        records += self._pending_frames.records
        payload_bytes += self._pending_frames.payload_bytes
        return growth_bytes_max(records, payload_bytes) <= self._state.free_bytes
