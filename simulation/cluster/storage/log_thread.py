"""Log thread: changes a node's log in the order asked for, and syncs once for all blocks that wait."""

from collections import deque
from collections.abc import Callable
from typing import Final

from replication.consensus.interface.effects import Truncate, WriteBlocks
from replication.consensus.interface.events import BlocksDurable, Event
from replication.log.block import Block
from replication.log.errors import LogBusy, LogFull
from simulation.cluster.storage.device import Device
from simulation.world.simulated_log import SimulatedLog
from simulation.world.timeline import MS, Timeline

_RETRY_NS: Final = 50 * MS


class LogThread:
    """What a node's log thread does, one operation of the disk after the other."""

    def __init__(
        self,
        log: SimulatedLog,
        device: Device,
        timeline: Timeline,
        block_of: Callable[[int, bytes], Block],
        tell: Callable[[Event], None],
        do: Callable[[Callable[[], None]], None],
        now_ns: Callable[[], int],
    ) -> None:
        """Take bodies from ``block_of(index, hash)`` and report by ``tell``.

        ``do`` runs a completion in the node, if that still runs.
        """
        self._log, self._device, self._timeline = log, device, timeline
        self._block_of, self._tell, self._do, self._now_ns = block_of, tell, do, now_ns
        self._waiting: deque[WriteBlocks | Truncate] = deque()
        self._busy = False

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not self._busy and not self._waiting

    def submit(self, change: WriteBlocks | Truncate) -> None:
        """Queue a change."""
        self._waiting.append(change)
        self._go_on()

    def sync(self) -> None:
        """Make durable what has been written; what is told afterwards rests on it."""
        self._log.sync()

    def _go_on(self) -> None:
        if self._busy or not self._waiting:
            return
        self._busy = True
        try:
            if isinstance(self._waiting[0], Truncate):
                self._truncate(self._waiting[0])
            else:
                self._write()
        except (LogFull, LogBusy):
            # Nothing was changed, and the end of a shortage is noticed by trying.
            self._timeline.after(_RETRY_NS, lambda: self._do(self._retry))

    def _retry(self) -> None:
        self._busy = False
        self._go_on()

    def _write(self) -> None:
        changes = [change for change in self._waiting if isinstance(change, WriteBlocks)]
        cut = changes[0].cut
        changes = changes[
            : next((n for n, change in enumerate(self._waiting) if not _joins(change, cut)), len(changes))
        ]
        blocks = [self._block_of(header.index, header.hash) for change in changes for header in change.headers]
        self._log.append(blocks)
        for _ in changes:
            self._waiting.popleft()
        last = blocks[-1]

        def end() -> None:
            self.sync()
            self._busy = False
            self._tell(BlocksDurable(cut, last.index, last.hash, self._now_ns()))
            self._go_on()

        self._device.complete(lambda: self._do(end))

    def _truncate(self, change: Truncate) -> None:
        self._log.truncate_after(change.after_index)
        self._waiting.popleft()

        def end() -> None:
            self._busy = False
            self._go_on()

        self._device.complete(lambda: self._do(end))


def _joins(change: WriteBlocks | Truncate, cut: int) -> bool:
    return isinstance(change, WriteBlocks) and change.cut == cut
