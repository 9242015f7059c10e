"""The system's clock and threads do what their protocols promise."""

import os
import signal
import threading

import pytest

from penstock.host import executor as executor_module
from penstock.host.clock import SYSTEM_CLOCK, Clock
from penstock.host.executor import THREADS, Executor, ThreadExecutor
from tests.eventually import eventually
from tests.fakes import ManualClock, ManualExecutor


def test_waiting_ends_with_the_event_or_with_the_time() -> None:
    for clock in (SYSTEM_CLOCK, ManualClock()):
        checked: Clock = clock
        event = threading.Event()
        before_ns = checked.monotonic_ns()
        assert not checked.wait(event, 0.01)
        assert checked.monotonic_ns() - before_ns >= 10_000_000
        event.set()
        assert checked.wait(event, 1_000.0)


def test_what_is_started_runs_beside_its_caller_and_can_be_waited_for() -> None:
    for executor in (THREADS, ManualExecutor()):
        checked: Executor = executor
        ran = threading.Event()
        checked.start("worker", ran.set).join()
        assert ran.is_set()


def test_an_idle_thread_is_used_again_and_a_busy_one_is_not() -> None:
    executor = ThreadExecutor()
    threads: list[int] = []
    go_on, entered = threading.Event(), threading.Event()

    def note() -> None:
        threads.append(threading.get_ident())

    def keep_busy() -> None:
        note()
        entered.set()
        go_on.wait()

    executor.start("first", note).join()
    eventually(lambda: executor._idle, "an idle thread")
    busy = executor.start("second", keep_busy)
    entered.wait()
    executor.start("third", note).join()
    go_on.set()
    busy.join()
    assert threads[0] == threads[1] != threads[2]


def test_what_fails_has_ended_and_spoils_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = ThreadExecutor()
    seen: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: seen.append(arguments.exc_type))

    def fail() -> None:
        raise LookupError

    executor.start("failing", fail).join()
    ran = threading.Event()
    executor.start("next", ran.set).join()
    assert ran.is_set()
    eventually(lambda: seen == [LookupError], "the report of the failure")


def test_a_forked_child_starts_threads_of_its_own() -> None:
    executor = ThreadExecutor()
    executor.start("first", lambda: None).join()
    eventually(lambda: executor._idle, "an idle thread")
    pid = os.fork()
    if pid == 0:
        ran = threading.Event()
        executor.start("child", ran.set)
        os._exit(0 if ran.wait(30) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_an_idle_thread_ends_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor_module, "_IDLE_S", 0.01)
    executor = ThreadExecutor()
    threads: list[threading.Thread] = []
    executor.start("short-lived", lambda: threads.append(threading.current_thread())).join()
    eventually(lambda: not threads[0].is_alive(), "its end")
    assert executor._idle == []


def test_a_forked_child_waits_for_none_of_its_parents_threads() -> None:
    ended = threading.Event()

    def wait() -> None:
        ended.wait()

    running = ThreadExecutor().start("long", wait)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        running.join()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    ended.set()
    running.join()
