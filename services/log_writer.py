"""Stage 2: makes blocks durable, one sync for all that wait."""

import time
from queue import Empty, SimpleQueue

from replication.wal import WriteAheadLog
from services.applier import Question
from services.batch import Batch
from services.counters import Counter, Counters


class LogWriter:
    """Appends sealed blocks to the log and passes them on once they are durable."""

    def __init__(
        self,
        log: WriteAheadLog,
        counters: Counters,
        outbox: "SimpleQueue[Batch | Question | None]",
    ) -> None:
        """Write to ``log`` what comes through the inbox, and put it into ``outbox`` once it is durable."""
        self.inbox: SimpleQueue[Batch | None] = SimpleQueue()
        """Blocks in the order of the log, and None as the last."""
        self._log = log
        self._counters = counters
        self._outbox = outbox

    def run(self) -> None:
        """Write until the end comes, then pass it on. A log that fails ends the stage with its error."""
        ended = False
        while not ended:
            group = self._gather()
            ended = group[-1] is None
            batches = [batch for batch in group if batch is not None]
            if batches:
                self._write(batches)
        self._outbox.put(None)

    def _gather(self) -> "list[Batch | None]":
        """Wait for one batch and take all that are there: the group that one sync makes durable."""
        group = [self.inbox.get()]
        while group[-1] is not None:
            try:
                group.append(self.inbox.get_nowait())
            except Empty:
                break
        return group

    def _write(self, batches: list[Batch]) -> None:
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
