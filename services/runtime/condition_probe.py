"""The condition probe: looks once a second for what no stage can see by itself, and for the end of what one has seen.

A stage whose disk hangs cannot say so. A stage that met a full disk or full tables would learn of their end from the
next frame, and none comes where a balancer goes by the node's health.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from penstock.contract.limits import BATCH_SIZE, FRAME_PAYLOAD_BYTES_MAX
from penstock.host.disk_wait import DiskWait
from penstock.host.executor import Executor
from services.admission.admission import Capacity
from services.pipeline.block_clock import duration_text
from services.runtime import descriptors
from services.telemetry.conditions import Condition, Conditions

TICK_S: Final = 1.0
DISK_SLOW_S: Final = 3.0
"""How long a disk may take for one write or sync before it counts as slow."""
CLOCK_BEHIND_NS: Final = 1_000_000_000
"""How far the wall clock may be behind the log's last block: clocks are set back by this much in daily use."""
DESCRIPTORS_LEFT_MIN: Final = 64


class BlockTimes(Protocol):
    """What the probe needs of the block clock: `services.pipeline.block_clock.BlockClock` in a node."""

    @property
    def behind_ns(self) -> int:
        """By how much the machine's clock is behind the last block's time."""

    @property
    def leapt_ns(self) -> int:
        """By how much it has leapt ahead, where the time of blocks does not follow."""


class ConditionProbe:
    """Runs in the event loop, by the loop's time, from `start` to `stop`."""

    def __init__(
        self,
        conditions: Conditions,
        executor: Executor,
        *,
        disk_waits: Sequence[DiskWait],
        capacity: Capacity,
        directory: Path,
        segment_bytes: int,
        block_clock: BlockTimes,
        lost_addresses: Callable[[], Sequence[str]],
        left: Callable[[], int] = descriptors.left,
    ) -> None:
        """Probe what ``conditions`` tells.

        Args:
            conditions: of the node.
            executor: runs what may hang with the disk.
            disk_waits: of the stages that write.
            capacity: of the state's tables.
            directory: of the log.
            segment_bytes: what the log takes from the disk at a time.
            block_clock: gives the log's blocks their times.
            lost_addresses: gives the addresses at which the node is not reached any more.
            left: gives the file descriptors that may still be opened.
        """
        self._conditions = conditions
        self._executor = executor
        self._disk_waits = tuple(disk_waits)
        self._capacity = capacity
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._block_clock = block_clock
        self._lost_addresses = lost_addresses
        self._left = left
        self._asking_disk = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    def tick(self) -> None:
        """Look at everything once; never blocks."""
        waited_s = max(wait.lasts_s() for wait in self._disk_waits)
        behind_ns, leapt_ns = self._block_clock.behind_ns, self._block_clock.leapt_ns
        left = self._left()
        lost = self._lost_addresses()
        self._tell(Condition.DISK_SLOW, waited_s >= DISK_SLOW_S, f"for {waited_s:.0f} s")
        self._tell(Condition.CLOCK_BEHIND, behind_ns > CLOCK_BEHIND_NS, f"by {duration_text(behind_ns)}")
        self._tell(Condition.CLOCK_JUMPED, leapt_ns > 0, f"by {duration_text(leapt_ns)}")
        self._tell(Condition.DESCRIPTORS_SHORT, left < DESCRIPTORS_LEFT_MIN, f"{left} left")
        self._tell(Condition.ADDRESS_LOST, bool(lost), ", ".join(lost))
        if Condition.TABLES_FULL in self._conditions and self._capacity.fits(BATCH_SIZE, FRAME_PAYLOAD_BYTES_MAX):
            self._conditions.clear(Condition.TABLES_FULL)
        if Condition.DISK_FULL in self._conditions and not self._asking_disk:
            self._asking_disk = True
            self._executor.start("disk-probe", self._ask_disk)
        self._conditions.settle()

    def _tell(self, condition: Condition, met: bool, detail: str) -> None:
        if met:
            self._conditions.set(condition, detail)
        else:
            self._conditions.clear(condition)

    def _ask_disk(self) -> None:
        try:
            room = os.statvfs(self._directory)
            if room.f_bavail * room.f_frsize >= 2 * self._segment_bytes:
                self._conditions.clear(Condition.DISK_FULL)
        finally:
            self._asking_disk = False

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.tick()
