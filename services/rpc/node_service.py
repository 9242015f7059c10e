"""``penstock.v1.NodeService``: how the node is doing."""

from collections.abc import Awaitable, Callable
from typing import Final

import grpc

from penstock.contract.reasons import Reason
from penstock.v1 import node_pb2
from services.pipeline.channel import ChannelClosed
from services.refusal import Refusal
from services.rpc.handlers import service_handler, unary_method
from services.rpc.rich_status import Context, abort

SERVICE: Final = "penstock.v1.NodeService"


class NodeService:
    """Answers with what ``describe`` finds; it is given whether to compute the digest of the whole state, too."""

    def __init__(self, describe: Callable[[bool], Awaitable[node_pb2.GetStatusResponse]]) -> None:
        self._describe = describe

    def handler(self) -> grpc.ServiceRpcHandler:
        """The service's methods."""
        return service_handler(
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
