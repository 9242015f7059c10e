"""``penstock.v1.StateService``: reads of the state, and the stream of committed blocks."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final

import grpc

from penstock.contract.limits import BATCH_SIZE
from penstock.contract.reasons import Reason
from penstock.v1 import state_pb2
from replication.log.block import Block
from replication.log.errors import LogBusy, LogCorrupted, LogRecycled
from replication.log.write_ahead_log import WriteAheadLog
from services.admission.namespaces import NamespaceSet
from services.pipeline.channel import ChannelClosed
from services.pipeline.pending_frames import PendingFrames
from services.pipeline.results_file import ResultsFile, ResultsUnavailable
from services.refusal import Refusal
from services.rpc import key_codec, watch_filter
from services.rpc.handlers import service_handler, streaming_method, unary_method
from services.rpc.rich_status import Context, abort
from services.rpc.watch_filter import WatchFilter
from services.telemetry.conditions import Condition, Conditions
from services.telemetry.counters import Counter, Counters
from statestore.errors import AnswerTooLarge
from statestore.state_machine import StateMachine

SERVICE: Final = "penstock.v1.StateService"

_READS_MAX: Final = 1024
"""Reads that wait for the applier at once; more are refused."""
_VALUES_BYTES_MAX: Final = 12 << 20
"""Values of one answer together: what a message may hold, with room for the rest of it."""
_WATCH_BLOCKS: Final = 8
"""Blocks read from the log at a time, off the event loop: reading may wait for the disk."""


class StateService:
    """Has reads answered by the applier, between two blocks, and watches from the log. Lives in the event loop."""

    def __init__(
        self,
        query: Callable[[Callable[[StateMachine], Any]], "Future[Any]"],
        log: WriteAheadLog,
        results_file: ResultsFile,
        pending_frames: PendingFrames,
        counters: Counters,
        namespaces: NamespaceSet,
        conditions: Conditions,
    ) -> None:
        """Read through ``query``, in the admitted ``namespaces`` alone; tell ``conditions`` of a damaged log."""
        self._query = query
        self._log = log
        self._results_file = results_file
        self._pending_frames = pending_frames
        self._counters = counters
        self._namespaces = namespaces
        self._conditions = conditions
        self._reads = 0
        self._closed: Refusal | None = None

    def close(self, why: Refusal) -> None:
        """Refuse reads and end watches."""
        self._closed = why
        self._pending_frames.wake()

    def handler(self) -> grpc.ServiceRpcHandler:
        """The service's methods."""
        return service_handler(
            SERVICE,
            {
                "Read": unary_method(self.read, state_pb2.ReadRequest),
                "BatchRead": unary_method(self.batch_read, state_pb2.BatchReadRequest),
                "Watch": streaming_method(self.watch, state_pb2.WatchRequest),
            },
        )

    async def read(self, request: state_pb2.ReadRequest, context: Context) -> state_pb2.ReadResponse:
        """Read one entry."""
        entries, log_index = await self._read([request.key], context)
        return state_pb2.ReadResponse(entry=entries[0], log_index=log_index)

    async def batch_read(self, request: state_pb2.BatchReadRequest, context: Context) -> state_pb2.BatchReadResponse:
        """Read several entries as of one log index."""
        if len(request.keys) > BATCH_SIZE:
            text = f"the request has {len(request.keys):,} keys, and {BATCH_SIZE:,} at most are allowed: split it"
            await abort(context, Refusal(Reason.BATCH_TOO_LARGE, text, field="keys"))
        entries, log_index = await self._read(request.keys, context)
        return state_pb2.BatchReadResponse(entries=entries, log_index=log_index)

    async def watch(self, request: state_pb2.WatchRequest, context: Context) -> AsyncIterator[state_pb2.WatchResponse]:
        """Stream committed blocks from an index on; gRPC's flow control decides how fast."""
        refused = watch_filter.refusal_of(request, self._namespaces)
        if refused is not None:
            await abort(context, refused)
        wanted = WatchFilter(request, self._namespaces)
        index = request.from_index or self._log.first_index
        self._counters.add(Counter.WATCHES_OPENED)
        try:
            while self._closed is None:
                applied = self._counters[Counter.APPLIED_INDEX]
                if index > applied:
                    await self._pending_frames.progress()
                    continue
                end = min(applied, index + _WATCH_BLOCKS - 1)
                for response in await asyncio.to_thread(self._select, wanted, index, end):
                    yield response
                index = end + 1
            await abort(context, self._closed)
        except LogRecycled as error:
            await abort(context, Refusal(Reason.BLOCK_GONE, str(error)))
        except LogBusy:
            await abort(context, Refusal(Reason.LOG_BUSY))
        except LogCorrupted as error:
            self._conditions.set(Condition.LOG_DAMAGED, str(error))
            await abort(context, Refusal(Reason.LOG_DAMAGED, f"block {error.index} of the log is damaged"))
        except ResultsUnavailable as error:
            await abort(context, Refusal(Reason.RESULTS_UNAVAILABLE, str(error)))
        finally:
            self._counters.add(Counter.WATCHES_CLOSED)

    def _select(self, wanted: WatchFilter, first: int, last: int) -> list[state_pb2.WatchResponse]:
        """Select from blocks ``first`` to ``last``. Runs in a thread."""
        responses = []
        block: Block
        for block in self._log.read(first):
            response = wanted.select(block, self._results_file.read(block.first_position, block.count))
            if response is not None:
                responses.append(response)
            if block.index == last:
                break
        return responses

    async def _read(self, keys: Sequence[state_pb2.Key], context: Context) -> tuple[list[state_pb2.Entry], int]:
        refused = self._closed or key_codec.refusal_of(keys, self._namespaces)
        if refused is None and self._reads >= _READS_MAX:
            refused = Refusal(Reason.IN_FLIGHT_LIMIT)
        if refused is not None:
            await abort(context, refused)
        kinds, namespaces, lengths, names = key_codec.columns_of(keys)
        self._reads += 1
        try:
            query = self._query(
                lambda state: (
                    state.read(kinds, namespaces, lengths, names, values_bytes_max=_VALUES_BYTES_MAX),
                    state.applied_index,
                )
            )
            found, log_index = await asyncio.wrap_future(query)
        except AnswerTooLarge as error:
            text = f"{error.values_bytes:,} bytes of values; an answer holds {_VALUES_BYTES_MAX:,}: split the request"
            await abort(context, Refusal(Reason.ANSWER_TOO_LARGE, text, field="keys"))
        except ChannelClosed:
            await abort(context, self._closed or Refusal(Reason.NODE_FAILED))
        finally:
            self._reads -= 1
        self._counters.add(Counter.ENTRIES_READ, len(keys))
        return key_codec.entries_of(keys, found), log_index
