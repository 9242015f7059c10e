"""Stream of committed blocks, which outlives broken connections."""

import asyncio
import math
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from grpc import aio

from penstock.client.options import RetryOptions
from penstock.client.transport.backoff import Backoff
from penstock.client.transport.error_mapping import PERMANENT, error_of_call
from penstock.contract.record import RECORD
from penstock.v1.state_pb2 import WatchRequest, WatchResponse

if TYPE_CHECKING:
    from penstock.v1.state_pb2_grpc import StateServiceAsyncStub


@dataclass(frozen=True)
class WatchedBlock:
    """The n transactions of one block that passed the filters; the arrays are read-only views."""

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
        )

    def payload(self, i: int) -> bytes:
        """The payload of the i-th transaction here: its key, where that is longer than 16 bytes, then its value."""
        end = int(self._payload_ends[i])
        return self.payloads[end - int(self.records["payload_length"][i]) : end]

    @cached_property
    def _payload_ends(self) -> npt.NDArray[np.uint64]:
        return np.cumsum(self.records["payload_length"], dtype=np.uint64)


async def watch(
    stub: "StateServiceAsyncStub", request: WatchRequest, options: RetryOptions, random: Random
) -> AsyncGenerator[WatchedBlock, None]:
    """Yield blocks without end, each once and in order; ends when the channel is closed.

    Where a connection breaks, a new one goes on after the last block.

    Raises:
        Refused: a retry cannot help, or none has for ``deadline_s``.
    """
    loop = asyncio.get_running_loop()
    backoff = Backoff(options, random)
    give_up_at = loop.time() + options.deadline_s
    while True:
        opened_at = loop.time()
        call = stub.Watch(request)
        try:
            async for response in call:
                opened_at = -math.inf
                request.from_index = response.log_index + 1
                yield WatchedBlock.of(response)
        except aio.AioRpcError as error:
            refused = error_of_call(error)
            if loop.time() - opened_at > options.deadline_s:  # it brought a block, or was open for long: it worked
                backoff.reset()
                give_up_at = loop.time() + options.deadline_s
            delay_s = backoff.next_s(refused.retry_delay_s)
            if isinstance(refused, PERMANENT) or loop.time() + delay_s >= give_up_at:
                raise refused from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if call.cancelled() and task is not None and not task.cancelling():
                return  # the channel was closed
            raise
        else:
            delay_s = backoff.next_s()  # the node ended the stream: it is going down
        finally:
            call.cancel()
        await asyncio.sleep(delay_s)
