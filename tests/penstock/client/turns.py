"""Waiting in a test's own event loop, for as long as its tasks have something to do."""

import asyncio
from collections.abc import Callable

_TURNS = 20


async def turns() -> None:
    """Let every task that is ready run, and those that they wake: what has not happened then needs time or a node."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object], *, timeout_s: float = 30.0) -> None:
    """Return once ``condition`` is true, which a node at the other end brings about."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what it asks about sets no event
            await asyncio.sleep(0.001)
