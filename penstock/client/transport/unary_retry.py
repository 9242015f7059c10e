"""Unary calls that change nothing, tried again until the deadline where that can help."""

import asyncio
from collections.abc import Awaitable
from typing import Protocol, TypeVar

from grpc import aio

from penstock.client.errors import Overloaded, Unavailable
from penstock.client.options import RetryOptions
from penstock.client.transport.backoff import Backoff
from penstock.client.transport.error_mapping import refusal_of_call

Request = TypeVar("Request", contravariant=True)
Response = TypeVar("Response", covariant=True)


class Method(Protocol[Request, Response]):
    """A unary method of a stub."""

    def __call__(self, request: Request, /, *, timeout: float | None = None) -> Awaitable[Response]:
        """Starts a call that fails after ``timeout`` seconds."""


async def call(method: Method[Request, Response], request: Request, options: RetryOptions) -> Response:
    """The response; raises a Refused, at once where trying again cannot help, else when the deadline has come."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + options.deadline_s
    backoff = Backoff(options)
    while True:
        try:
            return await method(request, timeout=deadline - loop.time())
        except aio.AioRpcError as error:
            refused = refusal_of_call(error)
            delay_s = backoff.next_s(refused.retry_delay_s)
            if not isinstance(refused, Overloaded | Unavailable) or loop.time() + delay_s >= deadline:
                raise refused from error
        await asyncio.sleep(delay_s)
