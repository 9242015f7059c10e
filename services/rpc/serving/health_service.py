"""``grpc.health.v1.Health`` of a node, whose watches end when the node stops.

gRPC's own servicer leaves that to the clients. They keep watching, and each stop would take its whole grace.
"""

import asyncio
from typing import Any, Final

from grpc_health.v1 import health, health_pb2


class HealthService(health.aio.HealthServicer):  # type: ignore[misc]  # has no types
    """The standard service, with `end_watches`."""

    def __init__(self) -> None:
        super().__init__()
        self._watches: Final[set[asyncio.Task[None]]] = set()

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:  # noqa: N802 - gRPC's name
        """Stream a service's health until the client goes or the node stops."""
        watch = asyncio.create_task(super().Watch(request, context))
        self._watches.add(watch)
        try:
            await asyncio.wait((watch,))
        finally:
            self._watches.discard(watch)
            watch.cancel()

    async def end_watches(self) -> None:
        """Report everything as not serving for good, then end all watches."""
        await self.enter_graceful_shutdown()
        await asyncio.sleep(0)  # in which watches are woken to pass that on
        for watch in self._watches:
            watch.cancel()
