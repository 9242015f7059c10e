"""A watch of a node's health ends when the node stops, whoever keeps it open."""

import asyncio
from typing import Any

from grpc_health.v1 import health_pb2

from services.rpc.serving.health_service import HealthService

Status = health_pb2.HealthCheckResponse


class Watcher:
    """The part of a call's context that a watch uses."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.told = asyncio.Event()

    async def write(self, response: Any) -> None:
        self.seen.append(response.status)
        self.told.set()


async def test_an_open_watch_is_told_and_ended() -> None:
    service, watcher = HealthService(), Watcher()
    await service.set("", Status.SERVING)
    watch = asyncio.create_task(service.Watch(health_pb2.HealthCheckRequest(service=""), watcher))
    await asyncio.wait_for(watcher.told.wait(), 5)
    await service.end_watches()
    await asyncio.wait_for(watch, 5)
    assert watcher.seen == [Status.SERVING, Status.NOT_SERVING]
