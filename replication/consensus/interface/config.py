"""Bounds and times of the protocol."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConsensusConfig:
    """Times are in nanoseconds. All nodes of a cluster should have the same."""

    suspicion_ns: int = 300_000_000
    """A voter that saw no progress for so long suspects the leader; a leader that made none steps down."""
    suspicion_jitter_ns: int = 150_000_000
    """At random up to so much longer, so that one voter asks first."""
    heartbeat_ns: int = 50_000_000
    retry_ns: int = 100_000_000
    """Questions that were not answered are asked again, with jitter of the same length."""
    hand_over_ns: int = 400_000_000
    """How long intake may be closed for a hand-over."""
    window_blocks: int = 256
    """Blocks on their way to one follower that it has not acknowledged."""
    window_bytes: int = 64 << 20
    message_bytes: int = 4 << 20
    """Bytes of blocks in one message; a block that is larger goes alone."""
    recent_blocks: int = 1024
    """Headers that a node keeps in memory. Older blocks are read from the log."""
    may_lead: bool = True
    """False for a node that keeps the log and does not apply it: it votes and never tries to lead."""

    def __post_init__(self) -> None:
        assert 0 < self.heartbeat_ns <= self.suspicion_ns or self.suspicion_ns == 0
        assert self.window_blocks >= 1
        assert self.recent_blocks >= self.window_blocks
