"""Stream of committed blocks, which outlives broken connections."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING

import grpc
import numpy as np
import numpy.typing as npt
from grpc import aio

from penstock.client.errors import Refused, Unavailable
from penstock.client.options import RetryOptions
from penstock.client.transport.backoff import Backoff
from penstock.client.transport.error_mapping import PERMANENT, error_of_call
from penstock.contract.record import RECORD
from penstock.v1.state_pb2 import WatchRequest, WatchResponse

if TYPE_CHECKING:
    from penstock.v1.state_pb2_grpc import StateServiceAsyncStub


@dataclass(frozen=True)
class WatchedBlock:
    """The n transactions of one block that passed the filters; the arrays are read-only views.

    A large block comes in parts, one after the other, each a WatchedBlock with the same ``log_index``.
    """

    log_index: int
    time_unix_nano: int
    """The leader's clock when the block was sealed."""
    positions: npt.NDArray[np.uint64]
    """uint64[n]: each transaction's number in the log."""
    records: npt.NDArray[np.void]
    """RECORD[n]"""
    payloads: bytes
    """Their payloads one after the other."""
    results: npt.NDArray[np.uint8]
    """uint8[n]: a ResultCode each, with DUPLICATE set on top where it had been applied before."""
    next_index: int
    """With ``next_position``, where a later watch goes on behind this block or part of one."""
    next_position: int

    @classmethod
    def of(cls, response: WatchResponse) -> "WatchedBlock":
        """The block that a node sent."""
        return cls(
            response.log_index,
            response.time_unix_nano,
            np.frombuffer(response.positions, np.uint64),
            np.frombuffer(response.records, RECORD),
            response.payloads,
            np.frombuffer(response.results, np.uint8),
            response.next_index or response.log_index + 1,
            response.next_position,
        )

    def payload(self, i: int) -> bytes:
        """The payload of the i-th transaction here: its key, where that is longer than 16 bytes, then its value."""
        end = int(self._payload_ends[i])
        return self.payloads[end - int(self.records["payload_length"][i]) : end]

    @cached_property
    def _payload_ends(self) -> npt.NDArray[np.uint64]:
        return np.cumsum(self.records["payload_length"], dtype=np.uint64)


async def watch(
    stub: "StateServiceAsyncStub",
    request: WatchRequest,
    options: RetryOptions,
    random: Random,
    timeout_s: float | None = None,
) -> AsyncGenerator[WatchedBlock, None]:
    """Yield blocks without end, each once and in order; ends when the channel is closed.

    Where a connection breaks, a new one goes on after the last block, however long that takes. ``timeout_s`` is the
    longest wait for a next block.

    Raises:
        Refused: a retry cannot help, or no block came for ``timeout_s``.
    """
    loop = asyncio.get_running_loop()
    backoff = Backoff(options, random)
    last_error: Refused | None = None
    deadline = None if timeout_s is None else loop.time() + timeout_s
    while True:
        call = stub.Watch(request)
        try:
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
        await asyncio.sleep(delay_s)


def _no_block(from_index: int, timeout_s: float | None) -> Unavailable:
    return Unavailable(
        f"no block from {from_index} on came within {timeout_s:g} s: watch again from there",
        code=grpc.StatusCode.DEADLINE_EXCEEDED.value[0],
    )
