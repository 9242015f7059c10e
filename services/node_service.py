"""``penstock.v1.NodeService``: how the node is doing."""

import asyncio
from collections.abc import Callable
from typing import Final

import grpc

from penstock.v1 import node_pb2
from services.errors import Context
from services.server import service_handler

SERVICE: Final = "penstock.v1.NodeService"


class NodeService:
    """Answers with what ``describe`` finds; it is given whether to compute the digest of the whole state, too."""

    def __init__(self, describe: Callable[[bool], node_pb2.GetStatusResponse]) -> None:
        self._describe = describe

    def handler(self) -> grpc.ServiceRpcHandler:
        """The service's methods."""
        return service_handler(
            SERVICE,
            {
                "GetStatus": grpc.unary_unary_rpc_method_handler(
                    self.get_status,
                    request_deserializer=node_pb2.GetStatusRequest.FromString,
                    response_serializer=node_pb2.GetStatusResponse.SerializeToString,
                ),
            },
        )

    async def get_status(self, request: node_pb2.GetStatusRequest, _: Context) -> node_pb2.GetStatusResponse:
        """Describe the node; in a thread, since it may have to wait for the applier."""
        return await asyncio.to_thread(self._describe, request.with_state_digest)
