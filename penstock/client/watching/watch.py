"""Stream of committed blocks, which outlives broken connections."""

import asyncio
from collections.abc import AsyncGenerator
from random import Random
from typing import TYPE_CHECKING, Final

import grpc
from grpc import aio

from penstock.client.connection.connection import Connection
from penstock.client.errors import Refused, Unavailable
from penstock.client.options import RetryOptions
from penstock.client.transport.error_mapping import PERMANENT, error_of_call
from penstock.client.watching.watched_block import WatchedBlock
from penstock.v1.state_pb2 import WatchRequest

if TYPE_CHECKING:
    from penstock.v1.state_pb2_grpc import StateServiceAsyncStub


_ENDED: Final = Unavailable("the node ended the watch", code=grpc.StatusCode.UNAVAILABLE.value[0])


async def watch(
    stub: "StateServiceAsyncStub",
    request: WatchRequest,
    options: RetryOptions,
    random: Random,
    connection: Connection,
    timeout_s: float | None = None,
) -> AsyncGenerator[WatchedBlock, None]:
    """Yield blocks without end, each once and in order; ends when the channel is closed.

    Where a connection breaks, a new one goes on after the last block, however long that takes. ``timeout_s`` is the
    longest wait for a next block.

    Raises:
        Refused: a retry cannot help, or no block came for ``timeout_s``.
    """
    loop = asyncio.get_running_loop()
    backoff = options.backoff(random)
    last_error: Refused | None = None
    deadline = None if timeout_s is None else loop.time() + timeout_s
    while True:
        call = stub.Watch(request)
        try:
            async with asyncio.timeout_at(deadline):
                await call.wait_for_connection()
            connection.reached()
            responses = aiter(call)
            while True:
                async with asyncio.timeout_at(deadline):
                    response = await anext(responses, None)
                if response is None:
                    break  # the node ended the stream: it is going down
                backoff.reset()
                last_error = None
                block = WatchedBlock.of(response)
                request.from_index, request.from_position = block.next_index, block.next_position
                if not len(block.results):
                    continue  # it only says how far the watch has got
                yield block
                deadline = None if timeout_s is None else loop.time() + timeout_s
        except TimeoutError:
            raise last_error or _no_block(request.from_index, timeout_s) from None
        except aio.AioRpcError as error:
            last_error = error_of_call(error)
            if isinstance(last_error, PERMANENT):
                raise last_error from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if call.cancelled() and task is not None and not task.cancelling():
                return  # the channel was closed
            raise
        finally:
            call.cancel()
        delay_s = backoff.next_s(None if last_error is None else last_error.retry_delay_s)
        if deadline is not None and loop.time() + delay_s >= deadline:
            raise last_error or _no_block(request.from_index, timeout_s)
        connection.failed(last_error or _ENDED, delay_s)
        await asyncio.sleep(delay_s)


def _no_block(from_index: int, timeout_s: float | None) -> Unavailable:
    return Unavailable(
        f"no block from {from_index} on came within {timeout_s:g} s: watch again from there",
        code=grpc.StatusCode.DEADLINE_EXCEEDED.value[0],
    )
