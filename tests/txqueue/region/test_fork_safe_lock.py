"""A fork-safe lock keeps threads apart, and lets no child wait for a thread that it does not have."""

import threading

from tests.txqueue.region.test_fork import holds_in_child
from txqueue.region.fork_safe_lock import ForkSafeLock


def is_free(lock: ForkSafeLock) -> bool:
    """Whether another thread gets the lock."""
    entered = threading.Event()

    def enter() -> None:
        with lock:
            entered.set()

    threading.Thread(target=enter, daemon=True).start()
    return entered.wait(0.2)


def test_one_thread_has_it_as_often_as_it_likes_and_no_other() -> None:
    lock = ForkSafeLock()
    with lock, lock:
        assert not is_free(lock)
    assert is_free(lock)


def test_a_lock_that_a_thread_of_the_parent_has_is_open_in_a_child() -> None:
    lock, held, forked = ForkSafeLock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            forked.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    assert holds_in_child(lambda: is_free(lock))
    assert not is_free(lock)
    forked.set()
    thread.join()


def test_a_lock_that_the_forking_thread_has_is_its_own_in_the_child_too() -> None:
    lock = ForkSafeLock()
    with lock:
        assert holds_in_child(lambda: not is_free(lock))
    assert is_free(lock)
