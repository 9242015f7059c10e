"""Replication metrics: what an operator asks of a replicated log."""

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from replication.log.ballot import Ballot

_REMEMBERED: Final = 4096
"""Blocks whose time from proposal to commit the percentiles are of."""


@dataclass(frozen=True, slots=True)
class ReplicaMetrics:
    """One other node, as the leader sees it."""

    node: int
    active: bool
    """Whether it is connected and said something within the time after which a leader would be suspected."""
    votes: bool
    """Whether what it acknowledges counts."""
    durable_index: int
    lag_blocks: int
    """Blocks of the leader's log that it has not acknowledged."""
    bytes_sent: int
    messages_dropped: int


@dataclass(frozen=True, slots=True)
class ReplicationMetrics:
    """One node's part in its cluster at one moment."""

    node: int
    leader: Ballot
    """`NO_BALLOT` where none is known."""
    leads: bool
    last_index: int
    durable_index: int
    commit_index: int
    blocks_committed: int
    """Since the node's start, as are the next two."""
    entries_committed: int
    """Transactions in them."""
    leaderships: int
    """How often this node began to lead."""
    commit_p50_ms: float
    """From proposal to commit, of this node's last blocks as a leader; NaN where there are none."""
    commit_p99_ms: float
    active_replicas: int
    """Nodes that take part, this one among them; 1 where it does not lead."""
    replicas: tuple[ReplicaMetrics, ...]
    """The others, where this node leads."""


class CommitLatency:
    """Times from proposal to commit of a leader's last blocks."""

    def __init__(self) -> None:
        self._proposed_ns: dict[int, int] = {}
        self._taken_ns: deque[int] = deque(maxlen=_REMEMBERED)

    def proposed(self, index: int, now_ns: int) -> None:
        """A block begins its way."""
        self._proposed_ns[index] = now_ns

    def committed(self, index: int, now_ns: int) -> None:
        """A block is committed; of no effect where it was not proposed here."""
        proposed_ns = self._proposed_ns.pop(index, None)
        if proposed_ns is not None:
            self._taken_ns.append(now_ns - proposed_ns)

    def stepped_down(self) -> None:
        """What was proposed ends as something that others decide on."""
        self._proposed_ns.clear()

    def percentiles_ms(self) -> tuple[float, float]:
        """Median and 99th percentile in milliseconds; NaN where there is nothing."""
        if not self._taken_ns:
            return float("nan"), float("nan")
        p50, p99 = np.percentile(np.array(self._taken_ns), (50, 99))
        return p50 / 1e6, p99 / 1e6
