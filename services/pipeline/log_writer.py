"""Stage 2: makes blocks durable, one sync for all that wait."""

import time

from replication.log.write_ahead_log import WriteAheadLog
from services.pipeline.applier import StateQuery
from services.pipeline.channel import Channel
from services.pipeline.sealed_block import SealedBlock
from services.telemetry.counters import Counter, Counters


class LogWriter:
    """Appends sealed blocks to the log and passes them on once they are durable."""

    def __init__(
        self,
        log: WriteAheadLog,
        counters: Counters,
        outbox: Channel[SealedBlock | StateQuery],
    ) -> None:
        """Write to ``log`` what comes through the inbox, and put it into ``outbox`` once it is durable."""
        self.channel: Channel[SealedBlock] = Channel()
        """Blocks in the order of the log."""
        self._log = log
        self._counters = counters
        self._outbox = outbox

    def run(self) -> None:
        """Write until the end comes, then pass it on. A log that fails ends the stage with its error."""
        try:
            ended = False
            while not ended:
                group = self.channel.get_waiting()  # what one sync makes durable
                ended = group[-1] is None
                batches = [batch for batch in group if batch is not None]
                if batches:
                    self._write(batches)
        finally:
            self.channel.close()
            self._outbox.close()

    def _write(self, batches: list[SealedBlock]) -> None:
        started_ns = time.monotonic_ns()
        self._log.append([batch.block for batch in batches])
        written_ns = time.monotonic_ns()
        self._log.sync()
        synced_ns = time.monotonic_ns()
        now_ns = time.time_ns()
        for batch in batches:
            batch.durable_ns = now_ns
            self._outbox.put(batch)
        self._counters.add(Counter.BLOCKS_DURABLE, len(batches))
        self._counters.add(Counter.TRANSACTIONS_DURABLE, sum(batch.block.count for batch in batches))
        self._counters.add(Counter.LOG_BYTES_WRITTEN, sum(batch.block.stored_bytes for batch in batches))
        self._counters.add(Counter.SYNCS)
        self._counters.add(Counter.WRITE_NS, written_ns - started_ns)
        self._counters.add(Counter.SYNC_NS, synced_ns - written_ns)
        self._counters.put(Counter.DURABLE_INDEX, batches[-1].block.index)
