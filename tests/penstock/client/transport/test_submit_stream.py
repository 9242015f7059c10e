"""A stream ends well, whatever its call does at that moment."""

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import Any, cast

import numpy as np
import pytest
from grpc import aio

from penstock.client.connection.connection import Connection
from penstock.client.options import FlowOptions, RetryOptions
from penstock.client.transport.bulk_frame import BulkFrame
from penstock.client.transport.flow_window import FlowWindow
from penstock.client.transport.submit_stream import SubmitStream
from penstock.contract.record import RECORD_WORDS
from penstock.v1.txqueue_pb2 import SubmitStreamResponse


class BrokenEnd:
    """A channel, and its one call, which answers its first frame with one result and cannot be half-closed."""

    def __init__(self, error: BaseException) -> None:
        self._error = error
        self._written = asyncio.Event()

    def stream_stream(self, _method: str, **_options: Any) -> Any:
        return lambda: self

    async def wait_for_connection(self) -> None:
        pass

    async def write(self, _message: bytes) -> None:
        self._written.set()

    async def __aiter__(self) -> AsyncIterator[SubmitStreamResponse]:
        await self._written.wait()
        yield SubmitStreamResponse(frame_id=1, log_index=1, results=b"\x01")
        await asyncio.Event().wait()

    async def done_writing(self) -> None:
        raise self._error

    def cancel(self) -> None:
        pass


@pytest.mark.parametrize("error", [aio.InternalError("execute_batch"), asyncio.InvalidStateError("ended")])
async def test_closing_ends_well_where_the_call_ends_at_the_same_moment(error: BaseException) -> None:
    window = FlowWindow(FlowOptions())
    stream = SubmitStream(
        cast(aio.Channel, BrokenEnd(error)), RetryOptions(), window, Random(1), Connection("node", None, float)
    )
    frame = BulkFrame(1, np.ones((1, RECORD_WORDS), np.uint64), b"", "")
    window.enter(1)
    stream.send(frame)
    assert (await frame.receipt).results.tolist() == [1]
    await stream.close()
    assert window.frames == 0
