"""Executors: what runs beside its caller. Threads, or the turns that a simulation gives."""

import os
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final, Protocol

IDLE_NAME: Final = "idle"
"""Name of a thread without work."""
_IDLE_S: Final = 1.0
"""How long such a thread waits for work before it ends."""


class Running(Protocol):
    """Something that runs beside its caller."""

    def join(self) -> None:
        """Wait until it has ended."""


class Executor(Protocol):
    """Runs functions beside their callers."""

    def start(self, name: str, function: Callable[[], None]) -> Running:
        """Begin to run ``function``, which returns when it is told to stop by means of its own."""


class _Job:
    def __init__(self, name: str, function: Callable[[], None]) -> None:
        self._name = name
        self._function = function
        self._ended = threading.Event()
        self._process_id = os.getpid()

    def run(self) -> None:
        thread, function = threading.current_thread(), self._function
        thread.name = self._name
        del self._function
        try:
            function()
        finally:
            del function  # so that whoever has waited for the end knows that nothing is kept
            thread.name = IDLE_NAME
            self._ended.set()

    def join(self) -> None:
        if self._process_id == os.getpid():  # a forked child has nobody who would tell that it has ended
            self._ended.wait()


class ThreadExecutor:
    """A daemon thread for each function. A thread that has become idle is used again, for a second.

    Whoever starts a new thread waits until that has had the interpreter's lock, which takes milliseconds where others
    compete for it. The log starts some work for every segment: 3 % of a node's throughput, measured with new threads.
    """

    def __init__(self) -> None:
        self._idle: list[SimpleQueue[_Job]] = []
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._forget_threads)  # which a forked child does not have

    def start(self, name: str, function: Callable[[], None]) -> Running:
        """See :class:`Executor`.

        Raises:
            RuntimeError: no thread can be started.
        """
        job = _Job(name, function)
        with self._lock:
            if self._idle:
                self._idle.pop().put(job)
                return job
        threading.Thread(target=self._work, args=(job,), name=name, daemon=True).start()
        return job

    def _work(self, job: _Job) -> None:
        jobs: SimpleQueue[_Job] = SimpleQueue()
        while True:
            job.run()
            with self._lock:
                self._idle.append(jobs)
            try:
                job = jobs.get(timeout=_IDLE_S)
            except Empty:
                with self._lock:
                    if jobs in self._idle:
                        self._idle.remove(jobs)
                        return
                job = jobs.get()  # it came at the last moment

    def _forget_threads(self) -> None:
        self._idle = []
        self._lock = threading.Lock()


THREADS: Final = ThreadExecutor()
