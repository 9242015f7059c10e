"""A forked child's pool begins anew: nothing is lent in two processes, and the parent's pool is as it was."""

import os
import socket
import threading
import weakref
from collections.abc import Callable

import pytest

from pooling.core.errors import NotBorrowed
from pooling.core.factory import Factory
from pooling.core.object_pool import ObjectPool
from pooling.core.pool_options import PoolOptions
from pooling.manager import ObjectPoolManager
from pooling.shared_buffers import SharedBufferFactory
from tests.pooling.core.fake_connections import Connection, ConnectionFactory
from tests.txqueue.region.test_fork import holds_in_child


class Sockets(Factory[socket.socket]):
    """Connects to itself; says goodbye to the other side when one is destroyed."""

    def __init__(self) -> None:
        self.others: dict[int, socket.socket] = {}

    def make(self) -> socket.socket:
        one, other = socket.socketpair()
        self.others[one.fileno()] = other
        return one

    def passivate(self, item: socket.socket) -> None:
        item.sendall(b"rollback")

    def destroy(self, item: socket.socket) -> None:
        item.sendall(b"goodbye")
        item.close()


class SocketsThatChildrenClose(Sockets):
    def abandon(self, item: socket.socket) -> None:
        item.close()


def said_to(factory: Sockets, item: socket.socket) -> bytes:
    other = factory.others[item.fileno()]
    other.setblocking(False)
    try:
        return other.recv(100)
    except BlockingIOError:
        return b""


def test_a_socket_is_never_lent_to_parent_and_child() -> None:
    pool = ObjectPool("sockets", Sockets(), PoolOptions(max_total=4))
    lent, idle = pool.borrow_object(), pool.borrow_object()
    pool.return_object(idle)
    known = {lent.fileno(), idle.fileno()}
    before = pool.get_metrics()

    def lends_others() -> bool:
        metrics = pool.get_metrics()
        assert (metrics.size, metrics.in_use, metrics.idle, metrics.borrows) == (0, 0, 0, 0)
        mine = [pool.borrow_object(0) for _ in range(4)]
        return known.isdisjoint(one.fileno() for one in mine)

    assert holds_in_child(lends_others)
    assert pool.get_metrics() == before
    assert pool.borrow_object() is idle


@pytest.mark.parametrize("use", [ObjectPool.clear, ObjectPool.close, ObjectPool.maintain])
def test_what_a_child_does_with_its_pool_is_not_heard_by_those_whom_the_parent_talks_to(
    use: Callable[[ObjectPool[socket.socket]], object],
) -> None:
    factory = Sockets()
    pool = ObjectPool("sockets", factory, PoolOptions(test_on_return=True))
    lent, idle = pool.borrow_object(), pool.borrow_object()
    pool.return_object(idle)
    assert said_to(factory, idle) == b"rollback"

    def uses() -> bool:
        pool.return_object(lent)
        use(pool)
        return True

    assert holds_in_child(uses)
    assert said_to(factory, idle) == said_to(factory, lent) == b""
    pool.return_object(lent)
    assert said_to(factory, lent) == b"rollback"


def test_a_child_may_return_what_its_parent_borrowed_once_and_to_no_effect() -> None:
    factory = ConnectionFactory()
    pool = ObjectPool("connections", factory, PoolOptions(test_on_return=True))
    with pool.lend() as connection:
        factory.hooks()

        def leaves_the_block() -> bool:
            pool.return_object(connection)
            with pytest.raises(NotBorrowed):
                pool.return_object(connection)
            return factory.hooks() == [] and pool.idle == 0

        assert holds_in_child(leaves_the_block)
    assert factory.hooks() == ["validate", "passivate"]


def test_a_factory_may_close_what_its_child_has_of_an_object() -> None:
    pool = ObjectPool("sockets", SocketsThatChildrenClose(), PoolOptions())
    lent, idle = pool.borrow_object(), pool.borrow_object()
    pool.return_object(idle)

    def closes() -> bool:
        assert idle.fileno() == -1
        assert lent.fileno() != -1, "the thread that forked may still use it"
        pool.return_object(lent)
        return lent.fileno() == -1

    assert holds_in_child(closes)
    assert min(idle.fileno(), lent.fileno()) > 0


def test_an_object_of_the_parent_is_never_finalized_in_a_child() -> None:
    pool = ObjectPool("connections", ConnectionFactory(), PoolOptions())
    pool.return_object(pool.borrow_object())

    def keeps() -> bool:
        nonlocal pool
        inherited = weakref.ref(made[0])
        made.clear()
        del pool
        return inherited() is not None

    made: list[Connection] = [pool.borrow_object()]
    assert holds_in_child(keeps)


def test_what_a_thread_local_object_returns_in_a_child_is_heard_by_nobody() -> None:
    factory = Sockets()
    pool = ObjectPool("sockets", factory, PoolOptions(test_on_return=True))
    local, ready, forked = threading.local(), threading.Event(), threading.Event()

    class Session:
        def __init__(self) -> None:
            self.socket = pool.borrow_object()

        def __del__(self) -> None:
            pool.return_object(self.socket)

    def use() -> None:
        local.session = Session()
        used.append(local.session.socket)
        ready.set()
        forked.wait(10)

    used: list[socket.socket] = []
    thread = threading.Thread(target=use)
    thread.start()
    assert ready.wait(10)
    assert holds_in_child(lambda: pool.idle == pool.in_use == 0)
    assert said_to(factory, used[0]) == b""
    forked.set()
    thread.join()
    assert said_to(factory, used[0]) == b"rollback"


def test_a_manager_s_pools_begin_anew_in_a_child_and_are_sized_for_it() -> None:
    manager = ObjectPoolManager(1 << 20)
    pool = manager.create_pool("connections", ConnectionFactory(), PoolOptions(max_total=4))
    lent = [pool.borrow_object() for _ in range(4)]

    def sizes() -> bool:
        assert [sized.size_before for sized in manager.optimize_pool_sizes()] == [0]
        return pool.borrow_object(0) not in lent

    assert holds_in_child(sizes)
    assert pool.in_use == 4


def test_a_child_s_shared_buffers_come_from_an_arena_of_its_own() -> None:
    pool = ObjectPool("buffers", SharedBufferFactory(2, 4096), PoolOptions())
    buffer = pool.borrow_object()

    def has_its_own() -> bool:
        return f"/proc/{os.getpid()}/" in str(pool.borrow_object().path)

    assert holds_in_child(has_its_own)
    assert f"/proc/{os.getpid()}/" in str(buffer.path)
    pool.return_object(buffer)
