"""``penstock.v1.StateService``: reads, and the commit stream."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final

import grpc
import numpy as np

from penstock.contract.limits import BATCH_SIZE, KEY_BYTES_MAX
from penstock.v1 import state_pb2
from replication.log.block import Block
from replication.log.errors import LogRecycled
from replication.log.write_ahead_log import WriteAheadLog
from services.pipeline.channel import ChannelClosed
from services.pipeline.pending_frames import PendingFrames
from services.pipeline.results_file import ResultsFile, ResultsUnavailable
from services.rpc.handlers import service_handler, streaming_method, unary_method
from services.rpc.refusal import Context, Reason, Refusal, abort
from services.rpc.watch_filter import WatchFilter
from services.telemetry.counters import Counter, Counters
from statestore.errors import AnswerTooLarge
from statestore.kernel.layout import KIND_ACCOUNT, KIND_COUNTER, KIND_VALUE
from statestore.reads import Entries
from statestore.state_machine import StateMachine

SERVICE: Final = "penstock.v1.StateService"

_ACCOUNT_BYTES: Final = 16
_NAMESPACE_MAX: Final = 0xFFFF
_QUESTIONS_MAX: Final = 1024
"""Reads that wait for the applier at once; more are refused."""
_ANSWER_BYTES_MAX: Final = 12 << 20
"""Values of one answer together: what a message may hold, with room for the rest of it."""
_WATCH_BLOCKS: Final = 8
"""Blocks looked through at a time, off the event loop: reading the log may wait for the disk."""

_KINDS: Final = {"value": int(KIND_VALUE), "counter": int(KIND_COUNTER), "account": int(KIND_ACCOUNT)}


class StateService:
    """Answers reads between two blocks, through ``query``, and watches from the log."""

    def __init__(
        self,
        query: Callable[[Callable[[StateMachine], Any]], "Future[Any]"],
        log: WriteAheadLog,
        results_file: ResultsFile,
        pending_frames: PendingFrames,
        counters: Counters,
    ) -> None:
        self._query = query
        self._log = log
        self._results_file = results_file
        self._pending_frames = pending_frames
        self._counters = counters
        self._questions = 0
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
        entries, log_index = await self._look_up([request.key], context)
        return state_pb2.ReadResponse(entry=entries[0], log_index=log_index)

    async def batch_read(self, request: state_pb2.BatchReadRequest, context: Context) -> state_pb2.BatchReadResponse:
        """Read several entries as of one log index."""
        if len(request.keys) > BATCH_SIZE:
            text = f"{len(request.keys):,} keys; a batch has at most {BATCH_SIZE:,}: split it"
            await abort(context, Refusal.bad_request("BATCH_TOO_LARGE", "keys", text))
        entries, log_index = await self._look_up(request.keys, context)
        return state_pb2.BatchReadResponse(entries=entries, log_index=log_index)

    async def watch(self, request: state_pb2.WatchRequest, context: Context) -> AsyncIterator[state_pb2.WatchResponse]:
        """Stream committed blocks from an index on; gRPC's flow control decides how fast."""
        wanted = WatchFilter(request)
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
            await abort(context, Refusal.of(Reason.BLOCK_GONE, str(error)))
        except ResultsUnavailable as error:
            await abort(context, Refusal.of(Reason.LOG_FULL, str(error)))
        finally:
            self._counters.add(Counter.WATCHES_CLOSED)

    def _select(self, wanted: WatchFilter, first: int, last: int) -> list[state_pb2.WatchResponse]:
        """Take what passes of blocks ``first`` to ``last``. Runs in a thread."""
        responses = []
        block: Block
        for block in self._log.read(first):
            response = wanted.select(block, self._results_file.read(block.first_position, block.count))
            if response is not None:
                responses.append(response)
            if block.index == last:
                break
        return responses

    async def _look_up(self, keys: Sequence[state_pb2.Key], context: Context) -> tuple[list[state_pb2.Entry], int]:
        refused = self._closed or _fault(keys)
        if refused is None and self._questions >= _QUESTIONS_MAX:
            refused = Refusal.of(Reason.IN_FLIGHT_LIMIT)
        if refused is not None:
            await abort(context, refused)
        kinds, namespaces, lengths, names = _columns(keys)
        self._questions += 1
        try:
            asked = self._query(
                lambda state: (
                    state.read(kinds, namespaces, lengths, names, values_bytes_max=_ANSWER_BYTES_MAX),
                    state.applied_index,
                )
            )
            found, log_index = await asyncio.wrap_future(asked)
        except AnswerTooLarge as error:
            text = f"{error.values_bytes:,} bytes of values; an answer holds {_ANSWER_BYTES_MAX:,}: split the request"
            await abort(context, Refusal.bad_request("ANSWER_TOO_LARGE", "keys", text))
        except ChannelClosed:
            await abort(context, self._closed or Refusal.of(Reason.NODE_FAILED))
        finally:
            self._questions -= 1
        self._counters.add(Counter.ENTRIES_READ, len(keys))
        return _entries(keys, found), log_index


def _fault(keys: Sequence[state_pb2.Key]) -> Refusal | None:
    """Find the first key that no entry can have."""
    for number, key in enumerate(keys):
        kind = key.WhichOneof("entry")
        if kind is None:
            return Refusal.bad_request(
                "KEY_MISSING", f"keys[{number}]", "one of value, counter and account must be set"
            )
        length = len(getattr(key, kind))
        if key.namespace > _NAMESPACE_MAX:
            return Refusal.bad_request(
                "NAMESPACE_INVALID", f"keys[{number}].namespace", "a namespace is at most 65,535"
            )
        if kind == "account" and length != _ACCOUNT_BYTES:
            return Refusal.bad_request(
                "ACCOUNT_INVALID", f"keys[{number}].account", f"an account has 16 bytes, little-endian, not {length}"
            )
        if not 1 <= length <= KEY_BYTES_MAX:
            return Refusal.bad_request(
                "KEY_LENGTH_INVALID", f"keys[{number}].{kind}", f"a key has 1 to 1,024 bytes, not {length}"
            )
    return None


def _columns(keys: Sequence[state_pb2.Key]) -> tuple[Any, ...]:
    """Write keys as the arrays that the state's reads take."""
    kinds = [str(key.WhichOneof("entry")) for key in keys]
    names = [bytes(getattr(key, kind)) for key, kind in zip(keys, kinds, strict=True)]
    return (
        np.array([_KINDS[kind] for kind in kinds], np.uint8),
        np.array([key.namespace for key in keys], np.uint16),
        np.array([len(name) for name in names], np.uint16),
        np.frombuffer(b"".join(names), np.uint8),
    )


def _entries(keys: Sequence[state_pb2.Key], found: Entries) -> list[state_pb2.Entry]:
    return [
        state_pb2.Entry(
            found=bool(found.found[i]),
            version=int(found.versions[i]),
            value=found.value(i) if key.HasField("value") else b"",
            amount=int(found.amounts[i]),
            overdraft=bool(found.overdrafts[i]),
        )
        for i, key in enumerate(keys)
    ]
