"""``grpc.health.v1.Health`` of a node: what serves, asked for once or watched.

gRPC's own servicer holds a lock while it writes to a watch, so that one client that does not read keeps the health of
everybody as it is; it leaves its watches open when the node stops; and what it cannot parse or does not know is an
error without a reason.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Final

from grpc_health.v1 import health_pb2

from penstock.contract.reasons import Reason
from services.refusal import Refusal
from services.rpc.handlers import ServiceHandler, streaming_method, unary_method
from services.rpc.limits.connection import connection_of
from services.rpc.limits.open_calls import OpenCalls
from services.rpc.rich_status import Context, abort

SERVICE: Final = "grpc.health.v1.Health"

_WATCHES_MAX: Final = 1024
_CONNECTION_WATCHES_MAX: Final = 512

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN: Final = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def unknown_service(name: str) -> Refusal:
    """Refuse to tell the health of a service that there is not."""
    text = f"the node has no service {name!r}: ask for one that reflection lists"
    return Refusal(Reason.SERVICE_UNKNOWN, text, field="service")


class HealthService:
    """The health of the services of one node. Lives in the event loop. Nothing serves before it is said to."""

    def __init__(self, names: Iterable[str]) -> None:
        """Know these services' full names, of which "" is the node as a whole."""
        self._statuses = dict.fromkeys(names, _NOT_SERVING)
        self._changed = asyncio.Event()
        self._ended = False
        self._watches = OpenCalls(
            "watches of health", calls_max=_WATCHES_MAX, connection_calls_max=_CONNECTION_WATCHES_MAX
        )

    def handler(self) -> ServiceHandler:
        """The service's methods."""
        return ServiceHandler(
            SERVICE,
            {
                "Check": unary_method(self.check, health_pb2.HealthCheckRequest),
                "List": unary_method(self.list, health_pb2.HealthListRequest),
                "Watch": streaming_method(self.watch, health_pb2.HealthCheckRequest),
            },
        )

    def set_serving(self, but_not: Iterable[str] = ()) -> None:
        """Say that all serve but those in ``but_not``; of no effect after `end`."""
        if not self._ended:
            without = frozenset(but_not)
            assert without <= self._statuses.keys()
            self._set({name: _NOT_SERVING if name in without else _SERVING for name in self._statuses})

    def end(self) -> None:
        """Say that nothing serves any more, and end all watches once they have told that."""
        self._ended = True
        self._set(dict.fromkeys(self._statuses, _NOT_SERVING))

    def status_of(self, name: str) -> int | None:
        """Give a service's health, or None where there is no such service; for any thread."""
        return self._statuses.get(name)

    async def check(self, request: health_pb2.HealthCheckRequest, context: Context) -> health_pb2.HealthCheckResponse:
        """Give the health of one service."""
        status = self.status_of(request.service)
        if status is None:
            await abort(context, unknown_service(request.service))
        return health_pb2.HealthCheckResponse(status=status)

    async def list(self, _request: health_pb2.HealthListRequest, _context: Context) -> health_pb2.HealthListResponse:
        """Give the health of all services."""
        listed = {name: health_pb2.HealthCheckResponse(status=status) for name, status in self._statuses.items()}
        return health_pb2.HealthListResponse(statuses=listed)

    async def watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> AsyncIterator[bytes]:
        """Give the health of one service now and whenever it has changed; a slow reader misses what is past."""
        connection = connection_of(context)
        refused = self._watches.enter(connection)
        if refused is not None:
            await abort(context, refused)
        told = None
        try:
            while True:
                ended, changed = self._ended, self._changed
                status = self._statuses.get(request.service, _UNKNOWN)
                if status != told:
                    told = status
                    yield health_pb2.HealthCheckResponse(status=status).SerializeToString()
                if ended:
                    return
                await changed.wait()
        finally:
            self._watches.leave(connection)

    def _set(self, statuses: dict[str, int]) -> None:
        self._statuses = statuses
        self._changed.set()
        self._changed = asyncio.Event()
