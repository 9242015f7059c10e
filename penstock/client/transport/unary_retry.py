"""Retries of unary calls that change nothing, until a deadline."""

import asyncio
from collections.abc import Awaitable
from random import Random
from typing import Protocol, TypeVar

from grpc import aio

from penstock.client.connection.connection import Connection
from penstock.client.errors import ClientClosed, Overloaded, Unavailable
from penstock.client.options import RetryOptions
from penstock.client.transport.error_mapping import error_of_call

Request = TypeVar("Request", contravariant=True)
Response = TypeVar("Response", covariant=True)


class Method(Protocol[Request, Response]):
    """A unary method of a stub."""

    def __call__(self, request: Request, /, *, timeout: float | None = None) -> Awaitable[Response]:
        """Start a call that fails after ``timeout`` seconds."""


async def call_with_retries(
    method: Method[Request, Response],
    request: Request,
    options: RetryOptions,
    random: Random,
    connection: Connection,
    timeout_s: float,
) -> Response:
    """Call ``method`` until it succeeds; returns the response.

    The deadline is ``timeout_s`` from now.

    Raises:
        Refused: a retry cannot help, or the deadline has come.
        ClientClosed: the channel was closed.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    backoff = options.backoff(random)
    while True:
        try:
            response = await method(request, timeout=deadline - loop.time())
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise ClientClosed("this client was closed meanwhile") from None  # its channel was
        except aio.AioRpcError as error:
            refused = error_of_call(error)
            delay_s = backoff.next_s(refused.retry_delay_s)
            is_last = not isinstance(refused, Overloaded | Unavailable) or loop.time() + delay_s >= deadline
            connection.failed(refused, None if is_last else delay_s)
            if is_last:
                raise refused from error
        else:
            connection.reached()
            return response
        await asyncio.sleep(delay_s)
