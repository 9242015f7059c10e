"""Log maintenance: what one thread does for a log now and then, for as long as it is open.

In mode ``interval`` it syncs; in every mode it raises the durable watermark about once a second.
"""

import threading
from collections.abc import Callable
from typing import Final

from penstock.host.clock import Clock
from penstock.host.disk_wait import DiskWait
from penstock.host.executor import Executor
from replication.log.errors import LogFailed

_WATERMARK_INTERVAL_S: Final = 1.0


class LogMaintenance:
    """Runs from `start` to `stop`, or until a sync fails."""

    def __init__(
        self,
        sync: Callable[[], None],
        sync_interval_s: float | None,
        raise_watermark: Callable[[], None],
        clock: Clock,
    ) -> None:
        """Call ``sync`` every ``sync_interval_s`` (never where there is none), and ``raise_watermark``.

        ``sync`` raises LogFailed where the disk has failed.
        """
        self._sync, self._syncs, self._raise_watermark = sync, sync_interval_s is not None, raise_watermark
        self._wait_s = _WATERMARK_INTERVAL_S if sync_interval_s is None else sync_interval_s
        self._clock = clock
        self._stopping = threading.Event()
        self.held: Final = threading.Lock()
        """Held while it does something, and by whoever must not be disturbed by it."""
        self.disk_wait: Final = DiskWait(clock.monotonic_ns)
        """While it waits for the disk."""

    def start(self, executor: Executor) -> None:
        """Begin.

        Raises:
            RuntimeError: no thread can be started.
        """
        self._running = executor.start("log-maintenance", self._run)

    def stop(self) -> None:
        """End, once the disk has answered."""
        self._stopping.set()
        self._running.join()

    def _run(self) -> None:
        waits_per_watermark = max(1, round(_WATERMARK_INTERVAL_S / self._wait_s))
        waits = 0
        while not self._clock.wait(self._stopping, self._wait_s):
            waits += 1
            with self.held, self.disk_wait:
                if self._syncs:
                    try:
                        self._sync()
                    except LogFailed:  # which the log remembers, and has told
                        return
                if waits % waits_per_watermark == 0:
                    self._raise_watermark()
