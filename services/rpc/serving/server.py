"""gRPC server of a node: its limits, where it listens, and the standard health and reflection services."""

from collections.abc import Callable, Collection, Sequence
from typing import Final

from services.rpc.handlers import ServiceHandler
from services.rpc.limits.arriving_messages import ArrivingMessages, watched
from services.rpc.serving import health_service
from services.rpc.serving.call_server import CallServer
from services.rpc.serving.health_service import HealthService
from services.rpc.serving.lazy_reflection import LazyReflection
from services.rpc.serving.listening import ListenError, Listening
from services.runtime import descriptors

MESSAGE_BYTES_MAX: Final = 6 << 20
"""Largest message that is received, which a client can make the node hold per call before anybody looks at it. The
largest frame fits, 10,000 records with 4 MiB of payloads, and one a little larger gets the error that names it."""
_ANSWER_BYTES_MAX: Final = 16 << 20
"""Largest message that is sent: 12 MiB of values, and what goes with 10,000 of them."""

CALLS_MAX: Final = 16_384
"""Calls at once. Services refuse more than is good for them far below this; more than this of all are refused."""
_CONNECTION_CALLS_MAX: Final = 1024
"""Calls of one connection at once: more wait at the client, by HTTP/2's own means. Above the bounds of streams and
watches of one connection, of which more are refused instead."""

OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", _ANSWER_BYTES_MAX),
    ("grpc.max_concurrent_streams", _CONNECTION_CALLS_MAX),
    # Otherwise calls that have ended and are not cleared away count as open, and gRPC resets as many new ones, without
    # a reason: two of five in bursts of 3,000. Calls that are reset as soon as they are opened, which this option is
    # there for, took as much memory with it: what bounds them are the two limits below.
    ("grpc.http.overload_protection", 0),
    # Calls that came and that the event loop has not looked at yet. gRPC cancels more, without a reason, and whoever's
    # they are: by default about a thousand, which a burst of single calls reaches.
    ("grpc.server.max_pending_requests", CALLS_MAX),
    ("grpc.server.max_pending_requests_hard_limit", 2 * CALLS_MAX),
    # Otherwise a second node on the same port takes half of the connections instead of failing.
    ("grpc.so_reuseport", 0),
    # Find clients that vanished without closing, or their streams and watches stay for ever.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Clients may do the same to us, a little faster.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


_DESCRIPTORS_KEPT: Final = 256
"""For the log, the state, threads and the status server; a quarter of all where there are few."""


def connections_max(descriptors_max: int, addresses: int) -> int:
    """Give how many connections each of some addresses may have; gRPC closes those that come beyond them.

    Connections that take every descriptor would keep others from the status server, too, and the log from growing.
    """
    kept = min(_DESCRIPTORS_KEPT, descriptors_max // 4)
    return max(1, (descriptors_max - kept) // addresses)


class NodeServer:
    """A gRPC server over a node's services. It accepts calls from `start` on and is healthy from `set_serving` on.

    Life: construct it, `start`, `set_serving` once the node has its state, `stop`. All in one event loop.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        services: Sequence[ServiceHandler],
        arriving: ArrivingMessages,
        on_failure: Callable[[Exception], None],
    ) -> None:
        """Offer ``services`` at ``addresses``, each ``host:port``, ``[ipv6]:port`` or ``unix:path``.

        Calls of all methods that take one request wait for it in ``arriving``, from where they can be ended.
        ``on_failure`` is told the error for which the server takes no more calls, which nobody has foreseen.
        """
        assert addresses
        assert services
        self._listening = Listening(addresses)
        names = [service.service_name() for service in services]
        self.health: Final = HealthService(["", *names])
        reflection = LazyReflection([*names, health_service.SERVICE], arriving)
        everything = [*services, self.health.handler(), *reflection.handlers()]
        offered = [watched(service, arriving) for service in everything]
        connections = ("grpc.max_allowed_incoming_connections", connections_max(descriptors.limit(), len(addresses)))
        self._server = CallServer(offered, (*OPTIONS, connections), calls_max=CALLS_MAX, on_failure=on_failure)

    async def start(self) -> list[str]:
        """Listen; returns the addresses with the ports that were taken where 0 was asked for.

        Raises:
            ListenError: an address is in use, or not this machine's.
        """
        try:
            bound = self._listening.bind(self._server.add_insecure_port)
        except ListenError:
            # gRPC lets go of the addresses before this one when a server stops that had started, and not before.
            await self._server.start()
            await self._server.shutdown(None)
            self._listening.release()
            raise
        await self._server.start()
        return bound

    def set_serving(self, but_not: Collection[str] = ()) -> None:
        """Report the node, which is "", and each service as healthy, all but those in ``but_not``."""
        self.health.set_serving(but_not)

    async def stop(self, grace_s: float) -> None:
        """Report the node as unhealthy, take no new call, and cut what is left after `grace_s` seconds.

        End streams and watches of the node's own services first. Watches of its health end here.
        """
        self.health.end()
        await self._server.shutdown(grace_s)
        self._listening.release()

    def lost_addresses(self) -> list[str]:
        """Give the Unix addresses at which somebody else listens by now, or nobody does."""
        return self._listening.lost()
