"""A call in a thread is waited for to its end, whatever becomes of its caller."""

import asyncio
import threading

import pytest

from services.runtime.patient_thread import in_thread


async def test_what_the_call_returns_and_raises_is_its_caller_s() -> None:
    assert await in_thread(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 7, 0)


async def test_a_caller_that_is_cancelled_goes_on_once_the_call_has_ended() -> None:
    called, ended = threading.Event(), threading.Event()

    def open_slowly() -> None:
        called.set()
        assert ended.wait(10)

    waiting = asyncio.create_task(in_thread(open_slowly))
    await asyncio.to_thread(called.wait)
    for _ in range(2):
        waiting.cancel()
        await asyncio.sleep(0)
        assert not waiting.done()
    ended.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
