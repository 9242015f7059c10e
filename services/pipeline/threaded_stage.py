"""A stage with a thread of its own: how it starts, ends and fails. The three stages that do work derive from it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from penstock.host.executor import Executor, Running
from services.pipeline.channel import ChannelClosed

OnFailure = Callable[[BaseException], None]
"""Told of an error that ended a stage; called by the thread that found it, must not block."""


class ThreadedStage(ABC):
    """The part of the stages' contract (`services.pipeline.stage`) that is the same for all that have a thread."""

    name: ClassVar[str]
    """Of its thread."""

    def __init__(self) -> None:
        self._running: Running | None = None
        self._on_failure: OnFailure | None = None

    def start(self, executor: Executor, on_failure: OnFailure) -> None:
        """Begin to work, in a thread of ``executor``; ``on_failure`` is told each time that the stage is made to fail.

        Raises:
            RuntimeError: no thread can be started.
        """
        assert self._running is None, f"{self.name} is started once"
        self._on_failure = on_failure
        self._running = executor.start(self.name, self._run)

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether work is refused."""

    @abstractmethod
    def stop(self) -> None:
        """See `services.pipeline.stage`."""

    def drain(self) -> None:
        """See `services.pipeline.stage`. A stage that was never started ends here, with what it holds undone."""
        if self._running is not None:
            self._running.join()
        else:
            self._end()

    def fail(self, error: BaseException) -> None:
        """See `services.pipeline.stage`."""
        self._abandon()
        if self._on_failure is not None:
            self._on_failure(error)

    @abstractmethod
    def _work(self) -> None:
        """Work until the end comes."""

    @abstractmethod
    def _abandon(self) -> None:
        """Refuse more work and let go of what waits; what the stage's thread has in hand it lets go of by itself."""

    @abstractmethod
    def _stop_next(self) -> None:
        """Stop the stage behind, if there is one."""

    def _run(self) -> None:
        try:
            self._work()
        except ChannelClosed:
            pass  # the stage behind this one has failed, and tells of it
        except BaseException as error:
            self.fail(error)
        finally:
            self._end()

    def _end(self) -> None:
        self._abandon()
        self._stop_next()
