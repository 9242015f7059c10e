"""``penstock.v1.NodeService``: the status of a node."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from penstock.contract.reasons import Reason
from penstock.v1 import node_pb2
from services.pipeline.channel import ChannelClosed
from services.refusal import Refusal
from services.release import running_version
from services.rpc.handlers import ServiceHandler, unary_method
from services.rpc.limits.shared_digest import SharedDigest
from services.rpc.rich_status import Context, abort
from services.runtime import descriptors, malloc_tuning
from services.settings.model import NodeSettings
from services.telemetry.conditions import Conditions
from services.telemetry.counters import Counter, Counters
from services.telemetry.throughput import PhaseThroughput
from statestore.state_machine import StateMachine

SERVICE: Final = "penstock.v1.NodeService"

_REPLICAS: Final = 1


class NodeService:
    """Describes the node, each time as of one log index."""

    def __init__(
        self,
        settings: NodeSettings,
        query: Callable[[Callable[[StateMachine], Any]], "Future[Any]"],
        counters: Counters,
        throughput: PhaseThroughput,
        condition: Callable[[], str],
        conditions: Conditions,
        *,
        epoch: int,
        started_ns: int,
    ) -> None:
        """Ask the state by ``query``, and by ``condition`` whether the node serves; ``started_ns`` is Unix time."""
        self._settings = settings
        self._query = query
        self._digest = SharedDigest(query)
        self._counters = counters
        self._throughput = throughput
        self._condition = condition
        self._conditions = conditions
        self._epoch = epoch
        self._started_ns = started_ns

    def handler(self) -> ServiceHandler:
        """The service's methods."""
        return ServiceHandler(
            SERVICE,
            {
                "GetStatus": unary_method(self.get_status, node_pb2.GetStatusRequest),
            },
        )

    async def get_status(self, request: node_pb2.GetStatusRequest, context: Context) -> node_pb2.GetStatusResponse:
        """Describe the node."""
        try:
            return await self._describe(request.with_state_digest)
        except ChannelClosed:
            await abort(context, Refusal(Reason.SHUTTING_DOWN))

    def describe(self, timeout_s: float) -> node_pb2.GetStatusResponse:
        """Describe the node without the digest of its state, waiting for the applier; for any thread.

        Raises:
            ChannelClosed: the pipeline has ended.
            TimeoutError: the applier has not answered in time.
        """
        applied_index, applied, effects = self._query(_applied).result(timeout_s)
        return self._response(applied_index, applied, effects, 0)

    async def _describe(self, with_state_digest: bool) -> node_pb2.GetStatusResponse:
        if with_state_digest:
            applied_index, applied, effects, digest = await self._digest.get()
        else:
            applied_index, applied, effects = await asyncio.wrap_future(self._query(_applied))
            digest = 0
        return await asyncio.to_thread(self._response, applied_index, applied, effects, digest)

    def _response(self, applied_index: int, applied: int, effects: int, digest: int) -> node_pb2.GetStatusResponse:
        # Read in this order: what moves on in between is then ahead, as it must be.
        committed_index = self._counters[Counter.COMMITTED_INDEX]
        durable_index = self._counters[Counter.DURABLE_INDEX]
        sealed_index = self._counters[Counter.SEALED_INDEX]
        assert applied_index <= committed_index <= durable_index <= sealed_index
        resident, mapped = malloc_tuning.resident_bytes()
        return node_pb2.GetStatusResponse(
            version=running_version(),
            cluster_id=self._settings.node.cluster_id,
            epoch=self._epoch,
            condition=self._condition(),
            durability=self._settings.log.sync_mode,
            replicas=_REPLICAS,
            sealed_index=sealed_index,
            durable_index=durable_index,
            committed_index=committed_index,
            applied_index=applied_index,
            applied_transactions=applied,
            effects_digest=effects,
            state_digest=digest,
            phases=[
                node_pb2.PhaseStatus(
                    name=pace.name,
                    achieved_tps=pace.achieved_tps,
                    target_tps=pace.target_tps,
                    transactions=pace.transactions,
                )
                for pace in self._throughput.read()
            ],
            started_unix_nano=self._started_ns,
            resident_bytes=resident,
            mapped_bytes=mapped,
            descriptors_max=descriptors.limit(),
            descriptors_used=descriptors.used(),
            conditions=[
                node_pb2.Condition(
                    name=condition.label,
                    detail=f"{condition.meaning} ({detail})" if detail else condition.meaning,
                    since_unix_nano=since_ns,
                )
                for condition, detail, since_ns in self._conditions.active()
            ],
        )


def _applied(state: StateMachine) -> tuple[int, int, int]:
    return state.applied_index, state.applied_position, state.effects_digest
