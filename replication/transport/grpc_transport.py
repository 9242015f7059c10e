"""Transport over gRPC: between hosts, and between processes of one where nothing faster is chosen.

It has a server of its own, at an address of its own: clients, however many, do not keep nodes from hearing each other,
and messages between nodes may be larger than a client's. A node holds one call to each other node, see `peer_link`.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from random import Random
from typing import Any, Final, cast

import grpc
import grpc.aio

from penstock.v1 import replication_pb2 as pb
from replication.consensus.interface.messages import Message
from replication.transport.errors import TransportError
from replication.transport.peer_link import CLUSTER_KEY, FROM_KEY, TO_KEY, PeerLink, cancel_and_wait
from replication.transport.transport import Bytes, OnReceived, PeerTraffic
from replication.transport.wire_format import MalformedMessage, decode, encode

SERVICE: Final = "penstock.v1.ReplicationService"
MESSAGE_BYTES_MAX: Final = 16 << 20
"""Largest message that is taken: a group of blocks, or the one largest block, and what is said about them."""
WAITING_BYTES_MAX: Final = 64 << 20
"""What may wait for one node: what the protocol has on its way to a follower at once."""
_SERVER_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.so_reuseport", 0),  # a second node at the same port is told so
    ("grpc.keepalive_time_ms", 1_000),
    ("grpc.keepalive_timeout_ms", 1_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 500),
    ("grpc.http2.max_ping_strikes", 0),
)

_log = logging.getLogger(__name__)


class GrpcTransport:
    """See `replication.transport.transport.Transport`. Of one event loop, but for `send`; `start`, then `stop`.

    Args:
        node: this node's number.
        cluster_id: whose messages are taken.
        address: where other nodes reach this one: ``host:port``, ``[ipv6]:port`` or ``unix:path``.
        on_received: takes what comes, in the event loop.
        rng: draws the waits between attempts to connect.
    """

    def __init__(self, node: int, cluster_id: int, address: str, on_received: OnReceived, rng: Random) -> None:
        self._node = node
        self._cluster_id = cluster_id
        self._address = address
        self._on_received = on_received
        self._rng = rng
        self._loop = asyncio.get_running_loop()
        self._links: dict[int, PeerLink] = {}
        self._running: dict[int, asyncio.Task[None]] = {}
        self._server = grpc.aio.server(options=_SERVER_OPTIONS)
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Deliver": grpc.stream_unary_rpc_method_handler(self._deliver)
        }
        handler = grpc.method_handlers_generic_handler(SERVICE, handlers)
        self._server.add_generic_rpc_handlers((cast(grpc.ServiceRpcHandler, handler),))

    async def start(self) -> str:
        """Listen; returns the address, with the port that was taken where 0 was asked for.

        Raises:
            TransportError: the address is in use, or not this machine's.
        """
        try:
            port = self._server.add_insecure_port(self._address)
        except RuntimeError as error:
            await self._server.start()
            await self._server.stop(None)
            raise TransportError(
                f"cannot listen for other nodes on {self._address}: it is in use, or not an address of this machine"
            ) from error
        await self._server.start()
        is_unix = self._address.startswith("unix:")
        return self._address if is_unix else f"{self._address.rpartition(':')[0]}:{port}"

    def connect(self, peers: Mapping[int, str]) -> None:
        """Hold calls to these nodes, by number and address, and to no others."""
        for peer in self._links.keys() - peers.keys():
            del self._links[peer]
            self._running.pop(peer).cancel()
        for peer, address in peers.items():
            assert peer != self._node, "a node sends nothing to itself"
            if peer not in self._links:
                link = PeerLink(self._node, peer, address, self._cluster_id, WAITING_BYTES_MAX, self._rng)
                self._links[peer] = link
                self._running[peer] = asyncio.get_running_loop().create_task(link.run())

    async def stop(self) -> None:
        """End all calls, and listen no more."""
        while self._running:
            await cancel_and_wait(self._running.popitem()[1])
        self._links.clear()
        await self._server.stop(None)

    def send(self, to: int, message: Message, blocks: Sequence[Bytes] = ()) -> None:
        """See `Transport.send`. Any thread may call it."""
        link = self._links.get(to)
        if link is not None:
            with contextlib.suppress(RuntimeError):  # the event loop has ended, and the node with it
                self._loop.call_soon_threadsafe(link.send, encode(message, blocks))

    def traffic(self) -> dict[int, PeerTraffic]:
        """See `Transport.traffic`."""
        return {peer: link.traffic for peer, link in self._links.items()}

    async def _deliver(self, requests: AsyncIterator[bytes], context: "grpc.aio.ServicerContext[Any, Any]") -> bytes:
        sender = await self._sender(context)
        async for request in requests:
            try:
                message, blocks = decode(request, sender)
            except MalformedMessage as error:
                _log.error("a call of node %d is ended: %s", sender, error)
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            self._on_received(sender, message, blocks)
        return pb.DeliverResponse().SerializeToString()

    async def _sender(self, context: "grpc.aio.ServicerContext[Any, Any]") -> int:
        """Who calls; ends calls that came to the wrong node, or from none."""
        found = dict(context.invocation_metadata() or ())
        cluster, sender, to = (str(found.get(key, "")) for key in (CLUSTER_KEY, FROM_KEY, TO_KEY))
        own_cluster = f"{self._cluster_id:016x}"
        if cluster != own_cluster or to != str(self._node):
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"this is node {self._node} of cluster {own_cluster}, not node {to or '?'} of {cluster or '?'}: check "
                f"the addresses of the cluster's nodes",
            )
        if not sender.isdecimal() or sender == to:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the metadata name no other node: {FROM_KEY}")
        return int(sender)
