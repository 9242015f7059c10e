"""Surroundings: what all nodes of a cluster share."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from replication.consensus.interface.config import ConsensusConfig
from replication.log.block import PAGE_BYTES
from simulation.fault_kind import FaultKind
from simulation.promises.ledger import Ledger
from simulation.world.coordinator import VirtualCoordinator
from simulation.world.network import Network
from simulation.world.timeline import MS, Timeline


def draw_config(rng: Random) -> ConsensusConfig:
    """Draw bounds so small that schedules of 200 blocks reach all of them."""
    return ConsensusConfig(
        suspicion_ns=150 * MS,
        suspicion_jitter_ns=100 * MS,
        heartbeat_ns=30 * MS,
        retry_ns=40 * MS,
        hand_over_ns=200 * MS,
        window_blocks=rng.choice((4, 16)),
        recent_blocks=32,
        message_bytes=PAGE_BYTES * rng.choice((1, 2, 8)),
    )


@dataclass(slots=True)
class Surroundings:
    """One timeline and what moves on it, by a seed."""

    timeline: Timeline
    rng: Random
    network: Network
    coordinator: VirtualCoordinator
    ledger: Ledger
    occurred: Counter[FaultKind]
    power_cut: Callable[[int], None]
    """Called with a node whose power was cut in the middle of what it did."""
    node_gave_up: Callable[[int], None]
    """Called with a node whose log is damaged."""
    config: ConsensusConfig
