"""A stage with a thread starts, ends and fails in that thread."""

import threading

from penstock.host.executor import THREADS
from services.pipeline.threaded_stage import ThreadedStage


class OneTask(ThreadedStage):
    """Works until it is stopped."""

    name = "one-task"

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__()
        self._error = error
        self._stopped = threading.Event()
        self.worked_in = ""
        self.stopped_next = 0

    @property
    def closed(self) -> bool:
        return self._stopped.is_set()

    def stop(self) -> None:
        self._stopped.set()

    def _work(self) -> None:
        self.worked_in = threading.current_thread().name
        if self._error is not None:
            raise self._error
        assert self._stopped.wait(10)

    def _abandon(self) -> None:
        self._stopped.set()

    def _stop_next(self) -> None:
        self.stopped_next += 1


def test_a_stage_works_in_a_thread_of_its_name_until_it_is_stopped() -> None:
    stage, failures = OneTask(), list[BaseException]()
    stage.start(THREADS, failures.append)
    stage.stop()
    stage.drain()
    assert (stage.worked_in, stage.stopped_next, failures) == ("one-task", 1, [])


def test_an_error_of_any_kind_is_reported_and_ends_the_stage() -> None:
    for error in (OSError("broken"), MemoryError(), SystemExit(1)):
        stage, failures = OneTask(error), list[BaseException]()
        stage.start(THREADS, failures.append)
        stage.drain()
        assert failures == [error]
        assert stage.closed
        assert stage.stopped_next == 1
