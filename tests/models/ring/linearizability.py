"""Decides whether what a queue did, seen from outside, is what a queue that does one thing at a time could have done.

The search is Wing and Gong's ("Testing and Verifying Concurrent Objects", 1993) with Lowe's memory of what was tried
("Testing for Linearizability", 2017): it puts one operation after another in an order that respects real time, and
never goes on twice from the same set of operations and the same contents of the queue.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Operation(NamedTuple):
    """An enqueue of one value, or a dequeue of all the values of a batch at once, none of which it may have found.

    Values are unique in a history. Times are of one clock.
    """

    called: float
    returned: float
    """When it returned; infinity where it never did: then it may have taken effect at any time since, or never."""
    enqueued: int | None
    dequeued: tuple[int, ...] = ()


def enqueue(called: float, returned: float, value: int) -> Operation:
    return Operation(called, returned, value)


def dequeue(called: float, returned: float, *values: int) -> Operation:
    return Operation(called, returned, None, values)


def in_time(operation: Operation) -> tuple[float, float]:
    """Sorts operations by their calls."""
    return operation.called, operation.returned


def is_linearizable(history: Sequence[Operation]) -> bool:
    """Whether some order of the operations explains all their results, and agrees with time where two do not overlap.

    Takes long only where very many operations overlap.
    """
    operations = sorted(history, key=in_time)
    must = sum(1 << index for index, operation in enumerate(operations) if operation.returned < math.inf)
    start: tuple[int, tuple[int, ...]] = (0, ())
    tried = {start}
    ahead = [start]
    while ahead:
        done, contents = ahead.pop()
        if done & must == must:
            return True
        for index in _may_be_next(operations, done):
            after = _apply(operations[index], contents)
            if after is not None and (step := (done | 1 << index, after)) not in tried:
                tried.add(step)
                ahead.append(step)
    return False


def _may_be_next(operations: list[Operation], done: int) -> Iterator[int]:
    """Operations not done that no other one not done precedes in time."""
    index = (~done & done + 1).bit_length() - 1
    earliest_return = math.inf
    while index < len(operations) and operations[index].called <= earliest_return:
        if not done >> index & 1:
            earliest_return = min(earliest_return, operations[index].returned)
            yield index
        index += 1


def _apply(operation: Operation, contents: tuple[int, ...]) -> tuple[int, ...] | None:
    """What the queue holds after it, or None where its result could not have been."""
    if operation.enqueued is not None:
        return (*contents, operation.enqueued)
    count = len(operation.dequeued)
    if count == 0:
        return None if contents else ()
    return contents[count:] if contents[:count] == operation.dequeued else None
