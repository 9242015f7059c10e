"""Clients that nobody closed: a ResourceWarning, and an end to what they hold."""

import asyncio
import warnings
from typing import Protocol

from grpc import aio

from penstock.client.process import runtime_support


class Stream(Protocol):
    """What sends the frames of a client."""

    def abandon(self) -> None:
        """Give up all frames, and what would send them."""

    def forget_channel(self) -> None:
        """Let go of the channel."""


def warn_of(client: object) -> None:
    """Warn that a client was not closed."""
    name = type(client).__name__
    advice = "async with" if name.startswith("Async") else "with"
    warnings.warn(
        f"unclosed {client!r}: close() it, or use it as `{advice} {name}(...)`",
        ResourceWarning,
        stacklevel=3,
        source=client,
    )


def abandon(loop: asyncio.AbstractEventLoop, stream: Stream, channel: aio.Channel) -> None:
    """Disconnect on the event loop, from whatever thread; where that has ended, nothing is left to be done."""
    runtime_support.left_garbage()

    async def disconnect() -> None:
        stream.abandon()
        await channel.close()
        stream.forget_channel()

    disconnecting = disconnect()
    try:
        asyncio.run_coroutine_threadsafe(disconnecting, loop)
    except RuntimeError:  # it is closed
        disconnecting.close()
