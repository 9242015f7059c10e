"""NodeService describes the node as of one log index, and says so when there is nothing left to describe."""

from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from penstock.contract.reasons import Reason
from penstock.v1 import node_pb2, node_pb2_grpc
from services.pipeline.channel import ChannelClosed
from services.release import running_version
from services.rpc.node_service import NodeService
from services.settings.model import NodeSettings
from services.telemetry.conditions import Condition, Conditions
from services.telemetry.counters import Counter, Counters
from services.telemetry.throughput import PHASES, PhaseThroughput
from tests.fakes import ManualClock
from tests.services.rpc.in_process import refused, serving


class FakeState:
    applied_index = 5
    applied_position = 500
    effects_digest = 77

    def __init__(self) -> None:
        self.digests = 0

    def state_digest(self) -> int:
        self.digests += 1
        return 88


class Served:
    def __init__(self) -> None:
        self.state = FakeState()
        self.counters = Counters()
        for counter, index in ((Counter.COMMITTED_INDEX, 6), (Counter.DURABLE_INDEX, 7), (Counter.SEALED_INDEX, 8)):
            self.counters.put(counter, index)
        self.ended = False
        self.conditions = Conditions(ManualClock(5_000_000_000))
        self.service = NodeService(
            NodeSettings.model_validate({"node": {"cluster_id": 9}, "log": {"sync_mode": "interval"}}),
            self._query,
            self.counters,
            PhaseThroughput(self.counters),
            lambda: "serving",
            self.conditions,
            epoch=3,
            started_ns=123,
        )
        self.stub: Any = None

    def _query(self, ask: Callable[[Any], Any]) -> "Future[Any]":
        if self.ended:
            raise ChannelClosed
        answer: Future[Any] = Future()
        answer.set_result(ask(self.state))
        return answer


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    made = Served()
    async with serving(tmp_path, made.service.handler()) as channel:
        made.stub = node_pb2_grpc.NodeServiceStub(channel)
        yield made


async def test_a_status_says_what_is_in_force_and_how_far_the_node_is(served: Served) -> None:
    status = await served.stub.GetStatus(node_pb2.GetStatusRequest())
    assert (status.version, status.cluster_id, status.epoch) == (running_version(), 9, 3)
    assert (status.condition, status.durability, status.replicas) == ("serving", "interval", 1)
    assert (status.applied_index, status.committed_index, status.durable_index, status.sealed_index) == (5, 6, 7, 8)
    assert (status.applied_transactions, status.effects_digest, status.started_unix_nano) == (500, 77, 123)
    assert [phase.name for phase in status.phases] == [phase.name for phase in PHASES]
    assert status.resident_bytes > status.mapped_bytes >= 0


async def test_the_digest_of_the_whole_state_is_computed_only_where_it_is_asked_for(served: Served) -> None:
    assert (await served.stub.GetStatus(node_pb2.GetStatusRequest())).state_digest == 0
    assert served.state.digests == 0
    asked = await served.stub.GetStatus(node_pb2.GetStatusRequest(with_state_digest=True))
    assert asked.state_digest == 88


async def test_a_node_whose_pipeline_has_ended_is_shutting_down(served: Served) -> None:
    served.ended = True
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.stub.GetStatus(node_pb2.GetStatusRequest())
    assert refused(caught.value) == (Reason.SHUTTING_DOWN, [])


async def test_a_state_ahead_of_the_commit_index_is_never_shown(served: Served) -> None:
    served.counters.put(Counter.COMMITTED_INDEX, 4)
    with pytest.raises(grpc.aio.AioRpcError):
        await served.stub.GetStatus(node_pb2.GetStatusRequest())


async def test_the_status_names_each_condition_with_its_cause_and_beginning(served: Served) -> None:
    assert not (await served.stub.GetStatus(node_pb2.GetStatusRequest())).conditions
    served.conditions.set(Condition.DISK_FULL, "no space for 8 MiB")
    served.conditions.set(Condition.SESSIONS_EXHAUSTED)
    full, sessions = (await served.stub.GetStatus(node_pb2.GetStatusRequest())).conditions
    assert (full.name, full.since_unix_nano) == ("disk_full", 5_000_000_000)
    assert full.detail == f"{Condition.DISK_FULL.meaning} (no space for 8 MiB)"
    assert sessions.detail == Condition.SESSIONS_EXHAUSTED.meaning
