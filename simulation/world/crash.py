"""A crash: what it leaves of writes that no sync covered."""

from enum import Enum


class Crash(Enum):
    """How a node goes down."""

    PROCESS = "process"
    """Killed: the page cache stays, and with it all that was written."""
    LOST = "lost"
    """Power cut: nothing that was not synced is there."""
    TORN = "torn"
    """Power cut: the writes reached the disk in their order, and the last of them in part."""
    REORDERED = "reordered"
    """Power cut: some sectors reached the disk, in no order."""
    FLIPPED = "flipped"
    """Power cut: some sectors reached the disk, and some of these with other bits."""
