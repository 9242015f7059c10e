"""Submission: a transaction on its way, whose key is known before its answer."""

import asyncio
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from penstock.client.results import Result


class TransactionKey(NamedTuple):
    """What a transaction is known by: under it, it takes effect once, however often it is sent."""

    client_id: int
    sequence: int


class AsyncSubmission:
    """A transaction that ``AsyncClient.start`` has submitted: await it for its result, more than once if need be.

    Cancelling an await, or its time-out, ends that wait alone. Await again, or submit the same operation under
    ``key.sequence`` from a client of ``key.client_id``, to learn the outcome.
    """

    def __init__(self, key: TransactionKey, answer: asyncio.Future[Result]) -> None:
        self.key = key
        self._answer = answer

    def __await__(self) -> Generator[Any, None, Result]:
        return asyncio.shield(self._answer).__await__()

    def done(self) -> bool:
        """Whether there is a result or an error."""
        return self._answer.done()


class Submission:
    """A transaction that ``Client.start`` has submitted."""

    def __init__(self, submission: AsyncSubmission, wait: Callable[[AsyncSubmission, float | None], Result]) -> None:
        self.key = submission.key
        self._submission = submission
        self._wait = wait

    def result(self, *, timeout: float | None = None) -> Result:
        """Wait for the result, for up to ``timeout`` seconds, and again later if need be.

        Raises:
            TimeoutError: the wait is over; the transaction is still on its way.
            PenstockError: as ``submit``.
        """
        return self._wait(self._submission, timeout)

    def done(self) -> bool:
        """Whether there is a result or an error."""
        return self._submission.done()
