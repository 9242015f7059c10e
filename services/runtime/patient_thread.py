"""Patient thread: a call in a thread that is waited for to its end, even where the waiting is cancelled."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


async def in_thread(
    function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Result:
    """Call ``function`` in a thread, which may be opening things that its caller has to close.

    Raises:
        CancelledError: the waiting was cancelled; the call has ended.
    """
    running = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    cancelled = None
    while not running.done():
        try:
            await asyncio.wait((running,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        running.exception()  # what became of it does not matter any more
        raise cancelled
    return running.result()
