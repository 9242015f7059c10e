"""What belongs to a process is left alone by the children that it forks."""

import gc
import os
import threading
from collections.abc import Callable

import pytest

from txqueue.region import fork, process_identity


class Owned:
    def __init__(self) -> None:
        self.is_disowned = False
        self.released: list[str] = []
        self.release = fork.finalize_in_process(self, self.released.append, "released")
        fork.disown_in_children(self)

    def disown(self) -> None:
        self.is_disowned = True


def holds_in_child(condition: Callable[[], bool]) -> bool:
    gc.collect()  # not in the child, which may lack threads that somebody's finalizer waits for
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if condition() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_child_disowns_what_its_parent_keeps() -> None:
    owned = Owned()
    assert holds_in_child(lambda: owned.is_disowned)
    assert not owned.is_disowned


def test_a_finalizer_acts_in_its_own_process_only() -> None:
    owned = Owned()
    released, release = owned.released, owned.release

    def releases_nothing() -> bool:
        release()
        return released == []

    assert holds_in_child(releases_nothing)
    del owned
    assert released == ["released"]


def test_the_thread_local_objects_of_other_threads_are_released_by_the_parent_alone() -> None:
    local, made, forked = threading.local(), threading.Event(), threading.Event()
    reader, writer = os.pipe2(os.O_NONBLOCK)

    def own() -> None:
        local.owned = Owned()
        local.release = fork.finalize_in_process(local.owned, os.write, writer, b"released")
        made.set()
        forked.wait()

    thread = threading.Thread(target=own)
    thread.start()
    made.wait()
    assert holds_in_child(lambda: True)
    with pytest.raises(BlockingIOError):
        os.read(reader, 100)
    forked.set()
    thread.join()
    assert os.read(reader, 100) == b"released"
    os.close(reader)
    os.close(writer)


def test_every_generation_has_an_identity_of_its_own() -> None:
    parent, generation = process_identity.this_process(), fork.generation()

    def is_another() -> bool:
        child = process_identity.this_process()
        return child != parent and fork.generation() == generation + 1 and process_identity.is_alive(child)

    assert holds_in_child(is_another)
    assert (process_identity.this_process(), fork.generation()) == (parent, generation)
