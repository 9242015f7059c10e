"""A node's status is told whatever its other clients do, and each of them learns why it is refused."""

import asyncio
import json
from contextlib import AsyncExitStack

import grpc.aio
from click.testing import CliRunner
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock.contract.reasons import Reason
from penstock.v1 import node_pb2, node_pb2_grpc, state_pb2, state_pb2_grpc
from services.cli.main import main
from tests.node.serve_process import ServeProcess
from tests.services.rpc.in_process import refused

WATCHES = 8_300
CONNECTIONS = 10
OWN = [("grpc.use_local_subchannel_pool", 1)]


async def outcome(call: "grpc.aio.UnaryStreamCall[state_pb2.WatchRequest, state_pb2.WatchResponse]") -> str:
    """How a watch of nothing begins: it stays open, or is refused."""
    try:
        await call.read()
    except grpc.aio.AioRpcError as error:
        return refused(error)[0].name
    return "told"


async def test_thousands_of_open_watches_keep_nobody_from_the_node_s_status(shared_node: ServeProcess) -> None:
    target = shared_node.target
    async with AsyncExitStack() as stack:
        calls = []
        for _ in range(CONNECTIONS):
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(target, OWN))
            watch = state_pb2_grpc.StateServiceStub(channel).Watch
            request = state_pb2.WatchRequest(from_index=1_000_000)
            calls += [watch(request) for _ in range(WATCHES // CONNECTIONS)]
        ends = [asyncio.ensure_future(outcome(call)) for call in calls]
        for address in (f"{target}.status", target):
            async with grpc.aio.insecure_channel(address, OWN) as other:
                node = node_pb2_grpc.NodeServiceStub(other)
                assert (await node.GetStatus(node_pb2.GetStatusRequest(), timeout=20)).condition == "serving"
                health = await health_pb2_grpc.HealthStub(other).Check(health_pb2.HealthCheckRequest(), timeout=20)
                assert health.status == health_pb2.HealthCheckResponse.SERVING
        done, still_open = await asyncio.wait(ends, timeout=1)
        assert {end.result() for end in done} == {Reason.CALLS_LIMIT.name}
        for end in still_open:
            end.cancel()


def test_the_command_asks_beside_the_socket(shared_node: ServeProcess) -> None:
    for target in (shared_node.target, f"{shared_node.target}.status"):
        answer = CliRunner().invoke(main, ["status", "--json", "--target", target])
        assert (answer.exit_code, json.loads(answer.output)["condition"]) == (0, "serving")
    put = CliRunner().invoke(main, ["put", "k", "v", "--target", shared_node.target])
    assert put.exit_code == 0
    digest = CliRunner().invoke(main, ["status", "--json", "--digest", "--target", shared_node.target])
    assert int(json.loads(digest.output)["state_digest"], 16) != 0
