"""A simulated node's log: the real one, on a virtual disk, that can be killed."""

from random import Random
from typing import Final, Self

from replication.log.write_ahead_log import WriteAheadLog
from simulation.world.clock import NodeClock
from simulation.world.disk import VirtualDisk
from simulation.world.executor import TurnExecutor

SEGMENT_BYTES: Final = 64 << 10
"""The smallest segments there are, so that a schedule fills many."""


class SimulatedLog(WriteAheadLog):
    """A `WriteAheadLog` whose process can end at any moment."""

    @classmethod
    def on(
        cls,
        disk: VirtualDisk,
        cluster_id: int,
        node: int,
        clock: NodeClock,
        executor: TurnExecutor,
        rng: Random,
    ) -> Self:
        """Open the log of a node that stands on a disk.

        Raises:
            LogCorrupted: its end is damaged.
            LogFull: there is no room for what a log needs at least.
        """
        return cls.open(
            disk.directory,
            cluster_id,
            segment_bytes=SEGMENT_BYTES,
            disk=disk,
            clock=clock,
            executor=executor,
            rng=rng,
            node=node,
        )

    def die(self) -> None:
        """Let go of the directory as the kernel does for a process that is gone; `VirtualDisk.crash` does the rest."""
        self._lock.release()

    def raise_watermark(self) -> None:
        """Take the turn that the log's background work takes about once a second."""
        self._watermark.follow(self.durable_index)
