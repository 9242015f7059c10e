"""Log worker: the thread that changes a node's log, in the order asked for, with one sync for all blocks that wait."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final, Protocol

from penstock.host.clock import Clock
from penstock.host.executor import Executor, Running
from replication.consensus.interface.events import BlocksDurable, Event, StorageFailed
from replication.log.block import Block
from replication.log.errors import LogBusy, LogError, LogFull

_SHORTAGE_S: Final = 0.05
"""How long it waits before it looks whether a shortage has ended."""


class ChangeableLog(Protocol):
    """What it needs of the log: `replication.log.write_ahead_log.WriteAheadLog`."""

    def append(self, blocks: Sequence[Block], /) -> None:
        """See there."""

    def sync(self) -> int:
        """See there."""

    def truncate_after(self, index: int, /) -> None:
        """See there."""


@dataclass(frozen=True, slots=True)
class Write:
    """Blocks to be appended and synced."""

    cut: int
    """How often the log was cut before."""
    blocks: list[Block]


@dataclass(frozen=True, slots=True)
class Cut:
    """What stands behind a block is to be cut."""

    cut: int
    after_index: int


class LogWorker:
    """Takes changes, and tells the protocol what has become of them."""

    def __init__(
        self, log: ChangeableLog, tell: Callable[[Event], None], fail: Callable[[Exception], None], clock: Clock
    ) -> None:
        """Change ``log``; ``tell`` takes completions, ``fail`` the error after which nothing more is changed."""
        self._log = log
        self._tell = tell
        self._fail = fail
        self._clock = clock
        self._changes: SimpleQueue[Write | Cut | None] = SimpleQueue()
        self._stopping = threading.Event()
        self._cut_done = threading.Condition()
        self.cuts = 0
        """How often the log was cut."""
        self._running: Running | None = None

    def start(self, executor: Executor) -> None:
        """Begin to work, in a thread of ``executor``."""
        self._running = executor.start("replicated-log", self._work)

    def submit(self, change: Write | Cut) -> None:
        """Take a change; never waits."""
        self._changes.put(change)

    def stop(self) -> None:
        """Make the changes that wait, and end; a shortage is not waited for."""
        self._stopping.set()
        self._changes.put(None)
        if self._running is not None:
            self._running.join()

    def wait_for_cut(self, cut: int) -> bool:
        """Wait until the log was cut so often; returns False where that does not come any more."""
        with self._cut_done:
            while self.cuts < cut and not self._stopping.is_set():
                self._cut_done.wait(_SHORTAGE_S)
            return self.cuts >= cut

    def _work(self) -> None:
        try:
            waiting: list[Write | Cut | None] = []
            while True:
                waiting = waiting or self._take_all()
                change = waiting[0]
                if change is None:
                    return
                if isinstance(change, Cut):
                    self._retrying(lambda change=change: self._truncate(change))  # type: ignore[misc]  # called at once
                    del waiting[0]
                else:
                    count = next((n for n, other in enumerate(waiting) if not _joins(other, change.cut)), len(waiting))
                    writes = [each for each in waiting[:count] if isinstance(each, Write)]
                    self._retrying(lambda writes=writes: self._write(writes))  # type: ignore[misc]  # called at once
                    del waiting[:count]
        except (LogError, OSError) as error:
            self._tell(StorageFailed(self._clock.monotonic_ns()))
            self._fail(error)

    def _take_all(self) -> list[Write | Cut | None]:
        changes = [self._changes.get()]
        while changes[-1] is not None:
            try:
                changes.append(self._changes.get_nowait())
            except Empty:
                break
        return changes

    def _retrying(self, change: Callable[[], None]) -> None:
        """Make a change; where the system is short of something, nothing was changed, and it is tried again."""
        while True:
            try:
                change()
            except (LogFull, LogBusy):
                if self._clock.wait(self._stopping, _SHORTAGE_S):
                    raise
            else:
                return

    def _write(self, writes: Sequence[Write]) -> None:
        self._log.append([block for write in writes for block in write.blocks])
        self._log.sync()
        last = writes[-1].blocks[-1]
        self._tell(BlocksDurable(writes[-1].cut, last.index, last.hash, self._clock.monotonic_ns()))

    def _truncate(self, change: Cut) -> None:
        self._log.truncate_after(change.after_index)
        with self._cut_done:
            self.cuts = change.cut
            self._cut_done.notify_all()


def _joins(change: Write | Cut | None, cut: int) -> bool:
    return isinstance(change, Write) and change.cut == cut
