"""The condition probe: looks once a second for what no stage can see by itself, and for the end of what one has seen.

A stage whose disk hangs cannot say so. Who met full tables, or refused a new client, would learn of the end from the
next frame, and none comes where a balancer goes by the node's health.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
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


class RetryingResults(Protocol):
    """What the probe needs of the results file: `services.pipeline.results_file.ResultsFile` in a node."""

    @property
    def failed(self) -> bool:
        """Whether results cannot be written, or some have been lost."""

    def try_again(self) -> None:
        """Write what could not be written."""


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
        *,
        disk_waits: Mapping[str, DiskWait],
        capacity: Capacity,
        block_clock: BlockTimes,
        results_file: RetryingResults,
        executor: Executor,
        lost_addresses: Callable[[], Sequence[str]],
        left: Callable[[], int] = descriptors.left,
    ) -> None:
        """Probe what ``conditions`` tells.

        Args:
            conditions: of the node.
            disk_waits: of all that waits for the disk, by what it does meanwhile.
            capacity: of the state's tables.
            block_clock: gives the log's blocks their times.
            results_file: which may fail.
            executor: runs what may hang with the disk.
            lost_addresses: gives the addresses at which the node is not reached any more.
            left: gives the file descriptors that may still be opened.
        """
        self._conditions = conditions
        self._disk_waits = dict(disk_waits)
        self._capacity = capacity
        self._block_clock = block_clock
        self._results_file = results_file
        self._executor = executor
        self._trying_results = False
        self._lost_addresses = lost_addresses
        self._left = left
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, with a look at what nobody has met yet: a node whose tables are full says so before it serves."""
        if not self._capacity.fits(1, 0):
            self._conditions.set(Condition.TABLES_FULL)
        self.tick()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    def hanging(self) -> str:
        """Say what waits for the disk, and for how long."""
        waited_s, doing = self._longest_wait()
        return f"{doing} for {waited_s:.0f} s" if waited_s else "nothing waits for the disk"

    def tick(self) -> None:
        """Look at everything once; never blocks."""
        waited_s, doing = self._longest_wait()
        behind_ns, leapt_ns = self._block_clock.behind_ns, self._block_clock.leapt_ns
        left = self._left()
        lost = self._lost_addresses()
        self._tell(Condition.DISK_SLOW, waited_s >= DISK_SLOW_S, f"{doing} for {waited_s:.0f} s")
        self._tell(Condition.CLOCK_BEHIND, behind_ns > CLOCK_BEHIND_NS, f"by {duration_text(behind_ns)}")
        self._tell(Condition.CLOCK_JUMPED, leapt_ns > 0, f"by {duration_text(leapt_ns)}")
        self._tell(Condition.DESCRIPTORS_SHORT, left < DESCRIPTORS_LEFT_MIN, f"{left} left")
        self._tell(Condition.RESULTS_UNAVAILABLE, self._results_file.failed, "")
        self._tell(Condition.ADDRESS_LOST, bool(lost), ", ".join(lost))
        if Condition.TABLES_FULL in self._conditions and self._capacity.fits(BATCH_SIZE, FRAME_PAYLOAD_BYTES_MAX):
            self._conditions.clear(Condition.TABLES_FULL)
        if self._results_file.failed and not self._trying_results:
            self._trying_results = True
            self._executor.start("results-probe", self._try_results)
        # Which lasts for as long as new clients come and are refused.
        self._conditions.clear(Condition.SESSIONS_EXHAUSTED)
        self._conditions.settle()

    def _tell(self, condition: Condition, met: bool, detail: str) -> None:
        if met:
            self._conditions.set(condition, detail)
        else:
            self._conditions.clear(condition)

    def _longest_wait(self) -> tuple[float, str]:
        return max((wait.lasts_s(), doing) for doing, wait in self._disk_waits.items())

    def _try_results(self) -> None:
        try:
            self._results_file.try_again()
        finally:
            self._trying_results = False

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.tick()
