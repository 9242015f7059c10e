"""StateService answers reads as of one log index, and streams committed blocks until it is closed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NoReturn, cast

import grpc.aio
import numpy as np
import pytest

from penstock.contract.reasons import Reason
from penstock.v1 import state_pb2, state_pb2_grpc
from replication.log.errors import LogCorrupted
from replication.log.write_ahead_log import WriteAheadLog
from services.admission.namespaces import NamespaceSet
from services.pipeline.channel import ChannelClosed
from services.pipeline.pending_frames import PendingFrames
from services.pipeline.results_file import ResultsFile
from services.refusal import Refusal
from services.rpc import state_service
from services.rpc.state_service import StateService
from services.settings.model import AdmissionSettings
from services.telemetry.conditions import Condition, Conditions
from services.telemetry.counters import Counter, Counters
from statestore.errors import AnswerTooLarge
from statestore.reads import Entries
from tests.frames import rows
from tests.services.blocks import FakeLog, chain
from tests.services.rpc.in_process import refused, retry_ms, serving

BLOCKS = chain(rows(3), rows(2, namespace=5), rows(1), *(rows(1) for _ in range(20)))
KEY = state_pb2.Key(value=b"k")


class FakeState:
    """Finds every key, with the version that its name's length is."""

    applied_index = 17
    error: Exception | None = None
    value = b""

    def read(self, _: Any, __: Any, lengths: Any, ___: Any, *, values_bytes_max: int) -> Entries:
        if self.error is not None:
            raise self.error
        count = len(lengths)
        return Entries(
            found=np.ones(count, np.bool_),
            versions=lengths.astype(np.uint64),
            amounts=np.zeros(count, np.int64),
            overdrafts=np.zeros(count, np.bool_),
            value_offsets=np.arange(count + 1, dtype=np.uint64) * np.uint64(len(self.value)),
            values=np.frombuffer(self.value * count, np.uint8),
        )


class Served:
    """A service and the fakes behind it. Queries are answered at once, unless they are held."""

    def __init__(self, directory: Path) -> None:
        self.counters = Counters()
        self.pending_frames = PendingFrames(asyncio.get_running_loop(), self.counters)
        self.conditions = Conditions()
        self.state = FakeState()
        self.log = FakeLog(BLOCKS)
        self.results_file = ResultsFile(directory / "results")
        self.held: list[Callable[[], None]] | None = None
        self.pipeline_ended = False
        self.service = StateService(
            self._query,
            cast(WriteAheadLog, self.log),
            self.results_file,
            self.pending_frames,
            self.counters,
            NamespaceSet([0, 5]),
            self.conditions,
            AdmissionSettings(watches_max=4, connection_watches_max=3),
        )
        self.stub: Any = None
        self.channel: Any = None

    def apply(self, through: int) -> None:
        for block in BLOCKS[self.counters[Counter.APPLIED_INDEX] : through]:
            self.results_file.write(block.first_position, b"\1" * block.count)
        self.counters.put(Counter.APPLIED_INDEX, through)
        self.pending_frames.wake()

    def _query(self, ask: Callable[[Any], Any]) -> "Future[Any]":
        if self.pipeline_ended:
            raise ChannelClosed
        answer: Future[Any] = Future()

        def run() -> None:
            try:
                answer.set_result(ask(self.state))
            except Exception as error:
                answer.set_exception(error)

        if self.held is None:
            run()
        else:
            self.held.append(run)
        return answer


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    made = Served(tmp_path)
    async with serving(tmp_path, made.service.handler()) as channel:
        made.channel = channel
        made.stub = state_pb2_grpc.StateServiceStub(channel)
        yield made
    made.results_file.close()


async def failure(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.005)


async def indexes(call: Any, count: int) -> list[int]:
    return [(await call.read()).log_index for _ in range(count)]


async def test_reads_give_their_entries_and_the_index_that_they_are_of(served: Served) -> None:
    one = await served.stub.Read(state_pb2.ReadRequest(key=KEY))
    assert (one.entry.found, one.entry.version, one.log_index) == (True, 1, 17)
    keys = [KEY, state_pb2.Key(counter=b"abc"), state_pb2.Key(account=bytes(16))]
    several = await served.stub.BatchRead(state_pb2.BatchReadRequest(keys=keys))
    assert [entry.version for entry in several.entries] == [1, 3, 16]
    assert served.counters[Counter.ENTRIES_READ] == 4


async def test_a_key_that_cannot_be_read_is_told(served: Served) -> None:
    error = await failure(served.stub.Read(state_pb2.ReadRequest()))
    assert refused(error) == (Reason.KEY_MISSING, ["keys[0]"])
    error = await failure(served.stub.BatchRead(state_pb2.BatchReadRequest(keys=[KEY, state_pb2.Key(namespace=6)])))
    assert refused(error) == (Reason.NAMESPACE_NOT_ALLOWED, ["keys[1].namespace"])
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_batches_and_answers_are_bounded(served: Served) -> None:
    error = await failure(served.stub.BatchRead(state_pb2.BatchReadRequest(keys=[KEY] * 10_001)))
    assert refused(error) == (Reason.BATCH_TOO_LARGE, ["keys"])
    served.state.error = AnswerTooLarge(20 << 20, 12 << 20)
    error = await failure(served.stub.Read(state_pb2.ReadRequest(key=KEY)))
    assert refused(error) == (Reason.ANSWER_TOO_LARGE, ["keys"])


async def test_reads_beyond_the_limit_are_refused_until_some_are_answered(served: Served) -> None:
    served.held = []
    calls = [
        asyncio.ensure_future(served.stub.Read(state_pb2.ReadRequest(key=KEY)))
        for _ in range(state_service._READS_MAX + 1)
    ]
    done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_EXCEPTION)
    assert refused(await failure(done.pop())) == (Reason.IN_FLIGHT_LIMIT, [])
    held, served.held = served.held, None
    for run in held:
        run()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(outcome, state_pb2.ReadResponse) for outcome in outcomes) == state_service._READS_MAX
    assert (await served.stub.Read(state_pb2.ReadRequest(key=KEY))).entry.found


async def test_reads_of_a_node_that_ends_say_why(served: Served) -> None:
    served.pipeline_ended = True
    assert refused(await failure(served.stub.Read(state_pb2.ReadRequest(key=KEY)))) == (Reason.NODE_FAILED, [])
    served.service.close(Refusal(Reason.SHUTTING_DOWN))
    assert refused(await failure(served.stub.Read(state_pb2.ReadRequest(key=KEY)))) == (Reason.SHUTTING_DOWN, [])


async def test_a_watch_starts_at_the_oldest_block_and_goes_on_as_blocks_are_applied(served: Served) -> None:
    served.apply(11)  # more than are looked through at a time
    call = served.stub.Watch(state_pb2.WatchRequest())
    assert await indexes(call, 11) == list(range(1, 12))
    served.apply(12)
    assert await indexes(call, 1) == [12]
    assert served.counters[Counter.WATCHES_OPENED] == 1


async def test_a_watch_from_an_index_leaves_out_what_its_filter_does(served: Served) -> None:
    served.apply(4)
    call = served.stub.Watch(state_pb2.WatchRequest(from_index=1, namespaces=[5]))
    first = await call.read()
    assert (first.log_index, len(first.results)) == (2, 2)
    call = served.stub.Watch(state_pb2.WatchRequest(from_index=3))
    assert await indexes(call, 2) == [3, 4]


async def test_closing_ends_watches_with_its_reason(served: Served) -> None:
    served.apply(1)
    call = served.stub.Watch(state_pb2.WatchRequest())
    assert await indexes(call, 1) == [1]
    served.service.close(Refusal(Reason.SHUTTING_DOWN))
    assert refused(await failure(call.read())) == (Reason.SHUTTING_DOWN, [])
    assert served.counters[Counter.WATCHES_CLOSED] == 1


async def test_a_watch_of_what_is_not_admitted_is_refused(served: Served) -> None:
    error = await failure(served.stub.Watch(state_pb2.WatchRequest(namespaces=[5, 6])).read())
    assert refused(error) == (Reason.NAMESPACE_NOT_ALLOWED, ["namespaces[1]"])
    assert served.counters[Counter.WATCHES_OPENED] == 0


async def test_a_block_that_the_log_gave_up_is_gone(served: Served) -> None:
    served.apply(4)
    served.log.first_index = 3
    error = await failure(served.stub.Watch(state_pb2.WatchRequest(from_index=2)).read())
    assert error.code() is grpc.StatusCode.OUT_OF_RANGE
    assert refused(error) == (Reason.BLOCK_GONE, [])
    call = served.stub.Watch(state_pb2.WatchRequest())
    assert await indexes(call, 2) == [3, 4]


async def test_a_damaged_block_ends_the_watch_with_its_reason_and_is_a_condition(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(_: int) -> NoReturn:
        raise LogCorrupted(Path("0.segment"), 4096, 1, "its hash is another")

    monkeypatch.setattr(served.log, "read", damaged)
    served.counters.put(Counter.APPLIED_INDEX, 1)
    error = await failure(served.stub.Watch(state_pb2.WatchRequest()).read())
    assert error.code() is grpc.StatusCode.DATA_LOSS
    assert refused(error) == (Reason.LOG_DAMAGED, [])
    assert [active.condition for active in served.conditions.active()] == [Condition.LOG_DAMAGED]


async def test_results_that_a_full_disk_lost_are_no_reason_to_try_again(served: Served) -> None:
    served.counters.put(Counter.APPLIED_INDEX, 1)  # applied, but nothing was written of its results
    error = await failure(served.stub.Watch(state_pb2.WatchRequest()).read())
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert refused(error) == (Reason.RESULTS_UNAVAILABLE, [])
    assert retry_ms(error) == 0
    assert "restart the node" in str(error.details())


async def test_a_filtered_watch_that_asks_for_it_is_told_how_far_it_got(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_service, "_PROGRESS_S", 0.01)
    served.apply(20)
    call = served.stub.Watch(state_pb2.WatchRequest(namespaces=[5], with_progress=True))
    assert [(await call.read()).next_index for _ in range(2)] == [3, 21]
    served.apply(22)
    told = await asyncio.wait_for(call.read(), 10)
    assert (told.records, told.log_index, told.next_index) == (b"", 22, 23)
    assert told.next_position == BLOCKS[21].next_position


async def test_watches_are_bounded_and_one_that_ends_makes_room(served: Served) -> None:
    served.apply(1)
    calls = [served.stub.Watch(state_pb2.WatchRequest()) for _ in range(3)]
    for call in calls:
        await call.read()
    error = await failure(served.stub.Watch(state_pb2.WatchRequest()).read())
    assert (refused(error), retry_ms(error)) == ((Reason.CALLS_LIMIT, []), 20)
    calls[0].cancel()
    await until(lambda: served.counters[Counter.WATCHES_CLOSED] == 1)
    assert await indexes(served.stub.Watch(state_pb2.WatchRequest()), 1) == [1]


async def test_a_block_is_read_once_for_all_who_watch_the_end_of_the_log(served: Served) -> None:
    served.apply(5)
    calls = [served.stub.Watch(state_pb2.WatchRequest(from_index=5)) for _ in range(3)]
    for call in calls:
        assert await indexes(call, 1) == [5]
    assert served.log.reads == [5]


async def test_a_request_of_a_million_empty_keys_is_refused_before_it_is_parsed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_service, "parse", None)
    batch = served.channel.unary_unary("/penstock.v1.StateService/BatchRead")
    assert refused(await failure(batch(b"\x0a\x00" * 1_000_000))) == (Reason.BATCH_TOO_LARGE, ["keys"])


async def test_a_watch_of_more_namespaces_than_there_are_is_refused_before_it_is_parsed(served: Served) -> None:
    error = await failure(served.stub.Watch(state_pb2.WatchRequest(namespaces=[1] * 1_000_000)).read())
    assert refused(error) == (Reason.REQUEST_TOO_LARGE, ["request"])


async def test_a_large_batch_is_answered_as_a_small_one_is(served: Served) -> None:
    keys = [state_pb2.Key(value=b"k" * (1 + number % 1024)) for number in range(7_000)]
    answer = await served.stub.BatchRead(state_pb2.BatchReadRequest(keys=keys))
    assert [entry.version for entry in answer.entries] == [1 + number % 1024 for number in range(7_000)]
    assert (await served.stub.BatchRead(state_pb2.BatchReadRequest())).log_index == 17


async def test_a_mistake_of_the_node_s_own_is_explained_too(served: Served) -> None:
    served.state.error = ZeroDivisionError("in the state")
    assert refused(await failure(served.stub.Read(state_pb2.ReadRequest(key=KEY)))) == (Reason.INTERNAL_ERROR, [])


async def test_answers_that_nobody_reads_are_bounded_and_harm_no_other_call(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_service, "_UNREAD_S_MAX", 0.3)
    served.state.value = bytes(900_000)
    batch = served.channel.unary_stream("/penstock.v1.StateService/BatchRead")
    request = state_pb2.BatchReadRequest(keys=[KEY] * 10).SerializeToString()
    unread = [batch(request) for _ in range(12)]
    await until(lambda: served.service._answers.held_bytes > 0)
    held = []
    for _ in range(20):
        held.append(served.service._answers.held_bytes)
        await asyncio.sleep(0.02)
    assert max(held) <= state_service._CONNECTION_ANSWER_BYTES_MAX
    for call in unread:
        call.cancel()
    await until(lambda: served.service._answers.held_bytes == 0)
    assert (await served.stub.Read(state_pb2.ReadRequest(key=KEY))).entry.found
