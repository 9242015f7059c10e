"""A link to another node: one gRPC call that carries all messages to it, begun anew whenever it ends."""

import asyncio
import contextlib
import logging
from collections import deque
from random import Random
from typing import Any, Final

import grpc
import grpc.aio

from penstock.contract.target import parse_target
from penstock.host.backoff import Backoff
from replication.transport.transport import PeerTraffic

METHOD: Final = "/penstock.v1.ReplicationService/Deliver"
CLUSTER_KEY: Final = "penstock-cluster"
FROM_KEY: Final = "penstock-from"
TO_KEY: Final = "penstock-to"

_BACKOFF_BASE_S: Final = 0.02
_BACKOFF_CAP_S: Final = 1.0
_CHANNEL_OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own: nothing else shares its fate
    # Find out that a node vanished, which closes nothing, before its absence has others elect.
    ("grpc.keepalive_time_ms", 1_000),
    ("grpc.keepalive_timeout_ms", 1_000),
    ("grpc.http2.max_pings_without_data", 0),
)

_log = logging.getLogger(__name__)


class PeerLink:
    """Sends messages to one node, in order, while it can be reached; drops them while not. Of one event loop."""

    def __init__(self, own: int, peer: int, address: str, cluster_id: int, waiting_bytes_max: int, rng: Random) -> None:
        """Prepare a link from node ``own`` to node ``peer`` at ``address``; `run` makes it work.

        ``waiting_bytes_max`` bounds what waits for the peer to take it; one message may always wait.
        """
        target = parse_target(address)
        self._peer = peer
        self._address = target.address
        self._options = (*_CHANNEL_OPTIONS, *target.channel_options)
        self._metadata = ((CLUSTER_KEY, f"{cluster_id:016x}"), (FROM_KEY, str(own)), (TO_KEY, str(peer)))
        self._waiting_bytes_max = waiting_bytes_max
        self._backoff = Backoff(_BACKOFF_BASE_S, _BACKOFF_CAP_S, rng)
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._woken = asyncio.Event()
        self._connected = False
        self._told = ""
        self._messages = self._bytes = self._dropped = 0

    @property
    def traffic(self) -> PeerTraffic:
        """See `PeerTraffic`."""
        return PeerTraffic(self._connected, self._messages, self._bytes, self._dropped, self._waiting_bytes)

    def send(self, message: bytes) -> None:
        """Send an encoded message, or drop it."""
        is_room = not self._waiting or self._waiting_bytes + len(message) <= self._waiting_bytes_max
        if not (self._connected and is_room):
            self._dropped += 1
            return
        self._waiting.append(message)
        self._waiting_bytes += len(message)
        self._woken.set()

    async def run(self) -> None:
        """Connect, send, and begin anew whenever that ends, until cancelled."""
        while True:
            try:
                await self._hold_call()
            except grpc.aio.AioRpcError as error:
                self._tell(f"{error.code().name}: {error.details()}")
            except (grpc.aio.UsageError, asyncio.InvalidStateError) as error:  # the call ended while it was written to
                self._tell(str(error))
            finally:
                self._connected = False
                self._dropped += len(self._waiting)
                self._waiting.clear()
                self._waiting_bytes = 0
            await asyncio.sleep(self._backoff.next_s())

    async def _hold_call(self) -> None:
        async with grpc.aio.insecure_channel(self._address, options=self._options) as channel:
            await channel.channel_ready()
            method: Any = channel.stream_unary(METHOD)  # bytes to bytes
            call = method(metadata=self._metadata)
            ended = asyncio.ensure_future(call.code())  # the other node ends it when it stops, or refuses it
            try:
                await call.wait_for_connection()
                self._connected = True
                while not ended.done():
                    await self._send_waiting(call)
                    self._backoff.reset()
                    woken = asyncio.ensure_future(self._woken.wait())
                    try:
                        await asyncio.wait((woken, ended), return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        woken.cancel()
                await call  # raises what ended it
                self._tell("the other node ended the call")
            finally:
                ended.cancel()
                call.cancel()

    async def _send_waiting(self, call: Any) -> None:
        self._woken.clear()
        while self._waiting:
            message = self._waiting[0]
            await call.write(message)  # waits where the other node does not keep up
            if self._told:
                _log.info("node %d is reached again", self._peer)
                self._told = ""
            self._waiting.popleft()
            self._waiting_bytes -= len(message)
            self._messages += 1
            self._bytes += len(message)

    def _tell(self, why: str) -> None:
        """Log why the node is not reached, once until that changes."""
        if why != self._told:
            self._told = why
            _log.warning("node %d at %s is not reached: %s", self._peer, self._address, why)


async def cancel_and_wait(task: "asyncio.Task[None]") -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
