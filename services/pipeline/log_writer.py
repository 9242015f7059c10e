"""Stage 2, the log writer: makes blocks durable, with one sync for all that wait."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from penstock.host.clock import SYSTEM_CLOCK, Clock
from penstock.host.disk_wait import DiskWait
from replication.log.block import Block
from services.pipeline.channel import Channel
from services.pipeline.sealed_block import SealedBlock
from services.pipeline.stage import Intake
from services.pipeline.threaded_stage import ThreadedStage
from services.telemetry.counters import Counter, Counters


class AppendableLog(Protocol):
    """What the log writer needs of the log: `replication.log.write_ahead_log.WriteAheadLog` in a node."""

    @property
    def last_index(self) -> int:
        """Index of the last block appended."""

    def append(self, blocks: Sequence[Block], /) -> None:
        """Write blocks that follow the last one.

        Raises:
            LogFailed: nothing more can be written.
        """

    def sync(self) -> int:
        """Make durable what was appended, as the sync mode wants it; returns the last index that may be answered for.

        Raises:
            LogFailed: nothing more can be written.
        """


class LogWriter(ThreadedStage):
    """Appends sealed blocks to the log and passes them on once they are durable. A log that fails ends it."""

    name = "log-writer"

    def __init__(
        self,
        log: AppendableLog,
        counters: Counters,
        commit_gate: Intake[SealedBlock],
        on_durable: Callable[[int], None],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Write to ``log``; durable blocks go to ``commit_gate``, then ``on_durable`` is told the durable index."""
        super().__init__()
        self._channel: Channel[SealedBlock] = Channel()
        self._log = log
        self._counters = counters
        self._commit_gate = commit_gate
        self._on_durable = on_durable
        self._clock = clock
        self.disk_wait: Final = DiskWait(clock.monotonic_ns)
        """While a group is written and synced."""
        counters.put(Counter.DURABLE_INDEX, log.last_index)

    @property
    def closed(self) -> bool:
        """Whether blocks are refused."""
        return self._channel.closed

    def submit(self, sealed: SealedBlock) -> None:
        """Take a block that follows the one submitted before.

        Raises:
            ChannelClosed: the stage was stopped or has failed.
        """
        self._channel.put(sealed)

    def stop(self) -> None:
        """See `services.pipeline.stage`."""
        self._channel.close()

    def _work(self) -> None:
        ended = False
        while not ended:
            group = self._channel.take_all()  # what one sync makes durable
            ended = group[-1] is None
            blocks = [sealed for sealed in group if sealed is not None]
            if blocks:
                self._write(blocks)

    def _write(self, blocks: list[SealedBlock]) -> None:
        mine = deque(blocks)
        try:
            durable_index = self._make_durable(blocks)
            durable_ns = self._clock.time_ns()
            while mine:
                mine[0].durable_ns = durable_ns
                self._commit_gate.submit(mine[0])
                mine.popleft()
        finally:
            for sealed in mine:
                sealed.release()
        self._on_durable(durable_index)

    def _make_durable(self, blocks: list[SealedBlock]) -> int:
        # Summed up before they are passed on: what is passed on is another's, who may release it at any time.
        count = sum(sealed.block.count for sealed in blocks)
        stored_bytes = sum(sealed.block.stored_bytes for sealed in blocks)
        counters = self._counters
        started_ns = self._clock.monotonic_ns()
        with self.disk_wait:
            self._log.append([sealed.block for sealed in blocks])
            written_ns = self._clock.monotonic_ns()
            durable_index = self._log.sync()
        synced_ns = self._clock.monotonic_ns()
        assert blocks[-1].block.index <= durable_index <= counters[Counter.SEALED_INDEX]
        counters.put(Counter.DURABLE_INDEX, durable_index)
        counters.add(Counter.BLOCKS_DURABLE, len(blocks))
        counters.add(Counter.TRANSACTIONS_DURABLE, count)
        counters.add(Counter.LOG_BYTES_WRITTEN, stored_bytes)
        counters.add(Counter.SYNCS)
        counters.add(Counter.WRITE_NS, written_ns - started_ns)
        counters.add(Counter.SYNC_NS, synced_ns - written_ns)
        return durable_index

    def _abandon(self) -> None:
        for sealed in self._channel.abort():
            sealed.release()

    def _stop_next(self) -> None:
        self._commit_gate.stop()
