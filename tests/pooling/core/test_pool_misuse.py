"""Double returns, foreign objects and use after return are errors that say who did what."""

import threading
from typing import Any

import numpy as np
import pytest

from pooling.core.errors import NotBorrowed, UsedAfterReturn
from pooling.core.factory import CallableFactory
from pooling.core.object_pool import ObjectPool
from pooling.core.pool_options import PoolOptions
from tests.pooling.core.fake_connections import Connection, ConnectionFactory

TRACED = PoolOptions(trace=True)
CHECKED = PoolOptions(trace=True, checked_proxy=True)


@pytest.mark.parametrize("options", [PoolOptions(), TRACED, CHECKED])
def test_returning_twice_is_an_error_and_harms_nothing(options: PoolOptions) -> None:
    pool = ObjectPool("connections", ConnectionFactory(), options)
    connection = pool.borrow_object()
    pool.return_object(connection)
    with pytest.raises(NotBorrowed, match=r"this Connection of pool connections was returned before, by"):
        pool.return_object(connection)
    assert (pool.idle, pool.in_use) == (1, 0)


@pytest.mark.parametrize("options", [TRACED, CHECKED])
def test_the_second_to_return_learns_who_was_the_first(options: PoolOptions) -> None:
    pool = ObjectPool("connections", ConnectionFactory(), options)
    connection = pool.borrow_object()

    def hasty() -> None:
        pool.return_object(connection)

    thread = threading.Thread(target=hasty, name="the-hasty-one")
    thread.start()
    thread.join()
    with pytest.raises(NotBorrowed, match=r"thread 'the-hasty-one'.*test_pool_misuse\.py:\d+ \(hasty\)"):
        pool.return_object(connection)


@pytest.mark.parametrize("options", [PoolOptions(), CHECKED])
def test_an_object_of_another_pool_is_refused_and_stays_on_loan_there(options: PoolOptions) -> None:
    mine, other = (ObjectPool(name, ConnectionFactory(), options) for name in ("mine", "other"))
    connection = other.borrow_object()
    with pytest.raises(NotBorrowed, match="not on loan from pool mine"):
        mine.return_object(connection)
    other.return_object(connection)


def test_an_object_that_no_pool_lent_is_refused() -> None:
    pool = ObjectPool("connections", ConnectionFactory())
    with pytest.raises(NotBorrowed, match="belongs elsewhere"):
        pool.return_object(Connection(0))


def test_a_checked_proxy_cannot_be_used_after_its_return() -> None:
    pool = ObjectPool("connections", ConnectionFactory(), CHECKED)
    connection = pool.borrow_object()
    connection.uses += 1
    assert connection.uses == 1
    pool.return_object(connection)
    message = r"of a Connection was used after its return; last returned by thread"
    for use in (lambda: connection.uses, lambda: setattr(connection, "uses", 2), lambda: hash(connection)):
        with pytest.raises(UsedAfterReturn, match=message):
            use()


def test_a_checked_proxy_ends_with_its_loan_though_the_object_is_lent_again() -> None:
    pool = ObjectPool("connections", ConnectionFactory(), CHECKED)
    first = pool.borrow_object()
    pool.return_object(first)
    second = pool.borrow_object()
    assert second.number == 0
    with pytest.raises(UsedAfterReturn):
        _ = first.number
    with pytest.raises(NotBorrowed):
        pool.return_object(first)
    pool.return_object(second)


def test_operators_pass_through_a_checked_proxy_and_stop_with_it() -> None:
    pool: ObjectPool[dict[str, int]] = ObjectPool("dicts", CallableFactory(dict), CHECKED)
    item = pool.borrow_object()
    item["a"] = 1
    assert len(item) == 1
    assert "a" in item
    assert list(item) == ["a"]
    assert item == {"a": 1}
    pool.return_object(item)
    for use in (lambda: item["a"], lambda: len(item), lambda: "a" in item, lambda: item.update(a=2)):
        with pytest.raises(UsedAfterReturn):
            use()


def test_operators_in_place_leave_the_checked_proxy_in_place() -> None:
    pool: ObjectPool[Any] = ObjectPool("arrays", CallableFactory(lambda: np.full(3, 6)), CHECKED)
    lent = item = pool.borrow_object()
    item += 1
    item *= 2
    item //= 7
    assert item is lent
    assert [list(result) for result in (item, item % 2, 1 - item, -item, item @ item + item)] == [
        *([2] * 3, [0] * 3, [-1] * 3, [-2] * 3, [14] * 3)
    ]
    pool.return_object(item)
    with pytest.raises(UsedAfterReturn):
        item += 1


def test_without_a_checked_proxy_the_very_object_is_lent() -> None:
    factory = ConnectionFactory()
    pool = ObjectPool("connections", factory, TRACED)
    assert pool.borrow_object() is factory.connections[0]
