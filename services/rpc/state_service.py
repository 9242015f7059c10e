"""``penstock.v1.StateService``: reads of the state, and the stream of committed blocks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final, TypeVar

import grpc
import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from penstock.contract.limits import BATCH_SIZE, PAYLOAD_BYTES_MAX
from penstock.contract.reasons import Reason
from penstock.v1 import state_pb2
from replication.log.errors import LogBusy, LogCorrupted, LogRecycled
from replication.log.write_ahead_log import WriteAheadLog
from services.admission.namespaces import NamespaceSet
from services.pipeline.channel import ChannelClosed
from services.pipeline.pending_frames import PendingFrames
from services.pipeline.results_file import ResultsFile, ResultsUnavailable
from services.refusal import Refusal
from services.rpc import key_codec
from services.rpc.handlers import REQUEST_BYTES_MAX, ServiceHandler, explain, parse, streaming_method
from services.rpc.limits.byte_budget import ByteBudget
from services.rpc.limits.connection import connection_of
from services.rpc.limits.open_calls import OpenCalls
from services.rpc.rich_status import Context, abort
from services.rpc.watching import watch_filter
from services.rpc.watching.hot_blocks import HotBlocks
from services.rpc.watching.watch_cursor import WatchCursor
from services.rpc.watching.watch_filter import WatchFilter
from services.settings.model import AdmissionSettings
from services.telemetry.conditions import Condition, Conditions
from services.telemetry.counters import Counter, Counters
from statestore.errors import AnswerTooLarge
from statestore.reads import Entries
from statestore.state_machine import StateMachine

Answer = TypeVar("Answer")

SERVICE: Final = "penstock.v1.StateService"

_READS_MAX: Final = 1024
"""Reads that wait for the applier at once; more are refused."""
_REQUEST_BYTES_MAX: Final = 64 << 20
"""Bytes of the requests of all these together."""
_VALUES_BYTES_MAX: Final = 12 << 20
"""Values of one answer together: what a message may hold, with room for the rest of it."""
_ENTRY_BYTES_MAX: Final = 64
"""Of an entry in an answer, without its value."""
_ANSWER_BYTES_MAX: Final = 128 << 20
"""Answers of all connections that have not been read yet, each counted as large as it may become until it is made."""
_CONNECTION_ANSWER_BYTES_MAX: Final = 32 << 20
_UNREAD_S_MAX: Final = 30.0
"""Seconds after which a client that does not read its answer is cut off."""
_LOOP_KEYS_MAX: Final = 64
"""Keys and entries that are read and written in the event loop; more would hold up everybody, and go to a thread."""
_LOOP_KEY_BYTES: Final = 1024
_WATCH_REQUEST_BYTES_MAX: Final = 256 << 10
"""Of a request that names each of 65,536 namespaces, three bytes each."""
_LOOKING_MAX: Final = 2
"""Watches that read the log at once, each in a thread: the other threads are for others."""
_PROGRESS_S: Final = 1.0

_Columns = tuple[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint8]]


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
        settings: AdmissionSettings,
    ) -> None:
        """Read through ``query``, in the admitted ``namespaces`` alone; tell ``conditions`` of a damaged log."""
        self._query = query
        self._log = log
        self._results_file = results_file
        self._hot_blocks = HotBlocks(log, results_file)
        self._pending_frames = pending_frames
        self._counters = counters
        self._namespaces = namespaces
        self._conditions = conditions
        self._watches = OpenCalls(
            "watches", calls_max=settings.watches_max, connection_calls_max=settings.connection_watches_max
        )
        self._looking = asyncio.Semaphore(_LOOKING_MAX)
        self._answers = ByteBudget(bytes_max=_ANSWER_BYTES_MAX, connection_bytes_max=_CONNECTION_ANSWER_BYTES_MAX)
        self._reads = 0
        self._request_bytes = 0
        self._closed: Refusal | None = None

    def close(self, why: Refusal) -> None:
        """Refuse reads and end watches."""
        self._closed = why
        self._pending_frames.wake()

    def handler(self) -> ServiceHandler:
        """The service's methods. Reads have one answer each, written by themselves to see when it has been taken."""
        return ServiceHandler(
            SERVICE,
            {
                "Read": grpc.unary_stream_rpc_method_handler(self.read),
                "BatchRead": grpc.unary_stream_rpc_method_handler(self.batch_read),
                "Watch": streaming_method(
                    self.watch, state_pb2.WatchRequest, request_bytes_max=_WATCH_REQUEST_BYTES_MAX
                ),
            },
        )

    async def read(self, message: bytes, context: Context) -> None:
        """Read one entry."""
        try:
            request = await parse(message, state_pb2.ReadRequest, context, REQUEST_BYTES_MAX)
            await self._answer([request.key], len(message), _read_response, context)
        except Exception as error:
            await explain(error, context)

    async def batch_read(self, message: bytes, context: Context) -> None:
        """Read several entries as of one log index."""
        try:
            if await _beside(len(message) // _LOOP_KEY_BYTES, key_codec.has_too_many_keys, message):
                text = f"the request has more than {BATCH_SIZE:,} keys: split it"
                await abort(context, Refusal(Reason.BATCH_TOO_LARGE, text, field="keys"))
            request = await parse(message, state_pb2.BatchReadRequest, context, len(message))
            if len(request.keys) > BATCH_SIZE:
                text = f"the request has {len(request.keys):,} keys, and {BATCH_SIZE:,} at most are allowed: split it"
                await abort(context, Refusal(Reason.BATCH_TOO_LARGE, text, field="keys"))
            await self._answer(request.keys, len(message), _batch_response, context)
        except Exception as error:
            await explain(error, context)

    async def watch(self, request: state_pb2.WatchRequest, context: Context) -> AsyncIterator[bytes]:
        """Stream committed blocks from an index on; gRPC's flow control decides how fast."""
        connection = connection_of(context)
        refused = watch_filter.refusal_of(request, self._namespaces) or self._watches.enter(connection)
        if refused is not None:
            await abort(context, refused)
        self._counters.add(Counter.WATCHES_OPENED)
        try:
            await context.send_initial_metadata(())  # so that a client knows that it watches before there is a block
            async for message in self._follow(request):
                yield message
            assert self._closed is not None
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
            self._watches.leave(connection)
            self._counters.add(Counter.WATCHES_CLOSED)

    async def _follow(self, request: state_pb2.WatchRequest) -> AsyncIterator[bytes]:
        """Give the messages of a watch until the service is closed."""
        loop = asyncio.get_running_loop()
        wanted = WatchFilter(request, self._namespaces)
        index = request.from_index or self._log.first_index
        cursor = WatchCursor(self._log, self._results_file, self._hot_blocks, wanted, index, request.from_position)
        told_at = loop.time()
        while self._closed is None:
            untold = request.with_progress and cursor.index != cursor.told_index
            if untold and loop.time() >= told_at + _PROGRESS_S:
                yield cursor.progress()
                told_at = loop.time()
            elif cursor.index <= (applied := self._counters[Counter.APPLIED_INDEX]):
                async with self._looking:
                    messages = await asyncio.to_thread(cursor.advance, applied)
                for message in messages:
                    yield message
                if messages:
                    told_at = loop.time()
            else:  # nothing may be awaited between looking and waiting
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(told_at + _PROGRESS_S if untold else None):
                        await self._pending_frames.progress()

    async def _answer(
        self,
        keys: Sequence[state_pb2.Key],
        request_bytes: int,
        response_of: Callable[[list[state_pb2.Entry], int], Message],
        context: Context,
    ) -> None:
        """Read and write one answer, held to the budget of its connection until the client has taken it."""
        refused = self._closed
        if refused is None and (self._reads >= _READS_MAX or self._request_bytes + request_bytes > _REQUEST_BYTES_MAX):
            refused = Refusal(Reason.IN_FLIGHT_LIMIT)
        if refused is not None:
            await abort(context, refused)
        connection = connection_of(context)
        reserved = _ENTRY_BYTES_MAX * (len(keys) + 1) + min(_VALUES_BYTES_MAX, PAYLOAD_BYTES_MAX * len(keys))
        self._reads += 1
        self._request_bytes += request_bytes
        try:
            await self._answers.reserve(connection, reserved)
            try:
                found, log_index = await self._read(keys, context)
                answer = await _beside(len(keys), _encode, keys, found, log_index, response_of)
                assert len(answer) <= reserved
                self._answers.release(connection, reserved - len(answer))
                reserved = len(answer)
                await self._write(answer, context)
            finally:
                self._answers.release(connection, reserved)
        finally:
            self._reads -= 1
            self._request_bytes -= request_bytes
        self._counters.add(Counter.ENTRIES_READ, len(keys))

    async def _read(self, keys: Sequence[state_pb2.Key], context: Context) -> tuple[Entries, int]:
        columns = await _beside(len(keys), _decode, keys, self._namespaces)
        if isinstance(columns, Refusal):
            await abort(context, columns)
        try:
            query = self._query(
                lambda state: (state.read(*columns, values_bytes_max=_VALUES_BYTES_MAX), state.applied_index)
            )
            found: tuple[Entries, int] = await asyncio.wrap_future(query)
        except AnswerTooLarge as error:
            text = f"{error.values_bytes:,} bytes of values; an answer holds {_VALUES_BYTES_MAX:,}: split the request"
            await abort(context, Refusal(Reason.ANSWER_TOO_LARGE, text, field="keys"))
        except ChannelClosed:
            await abort(context, self._closed or Refusal(Reason.NODE_FAILED))
        return found

    async def _write(self, answer: bytes, context: Context) -> None:
        try:
            async with asyncio.timeout(_UNREAD_S_MAX):
                await context.write(answer)
        except TimeoutError:
            await abort(context, Refusal(Reason.ANSWER_UNREAD))


def _decode(keys: Sequence[state_pb2.Key], namespaces: NamespaceSet) -> _Columns | Refusal:
    return key_codec.refusal_of(keys, namespaces) or key_codec.columns_of(keys)


def _encode(
    keys: Sequence[state_pb2.Key],
    found: Entries,
    log_index: int,
    response_of: Callable[[list[state_pb2.Entry], int], Message],
) -> bytes:
    return response_of(key_codec.entries_of(keys, found), log_index).SerializeToString()


def _read_response(entries: list[state_pb2.Entry], log_index: int) -> state_pb2.ReadResponse:
    return state_pb2.ReadResponse(entry=entries[0], log_index=log_index)


def _batch_response(entries: list[state_pb2.Entry], log_index: int) -> state_pb2.BatchReadResponse:
    return state_pb2.BatchReadResponse(entries=entries, log_index=log_index)


async def _beside(keys: int, function: Callable[..., Answer], *arguments: Any) -> Answer:
    """Call a function whose work grows with the number of keys: here where they are few, in a thread where not."""
    return function(*arguments) if keys <= _LOOP_KEYS_MAX else await asyncio.to_thread(function, *arguments)
