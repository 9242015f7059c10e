"""A node says by itself what is wrong with its disk and its tables, before a transaction finds out."""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock.contract import opcode
from penstock.host.clock import Clock, SystemClock
from penstock.host.executor import Executor
from penstock.v1 import node_pb2, node_pb2_grpc, txqueue_pb2_grpc
from replication.log.disk import Disk
from replication.log.errors import LogFailed
from replication.log.write_ahead_log import WriteAheadLog
from services.node import Node
from services.node_parts import NodeParts
from services.settings.model import NodeSettings
from statestore.state_machine import StateMachine
from tests.frames import frame, rows

HEALTHY = health_pb2.HealthCheckResponse.SERVING


class FastClock(SystemClock):
    """Ten seconds pass in one, for those who only measure."""

    def monotonic_ns(self) -> int:
        return SystemClock.monotonic_ns() * 10


class SickDisk(Disk):
    """Whose syncs in the background hang or fail once told to."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs: threading.Event | None = None
        self.fails = False

    def sync(self, fd: int) -> None:
        if self.hangs is not None:
            self.hangs.wait(20)
        if self.fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(fd)


class RunningNode:
    """A node in this process, and what a client sees of it."""

    def __init__(self, node: Node, channel: grpc.aio.Channel) -> None:
        self.node = node
        self._puts = 0
        self._health = health_pb2_grpc.HealthStub(channel)
        self._status = node_pb2_grpc.NodeServiceStub(channel)
        self._txqueue = txqueue_pb2_grpc.TxQueueServiceStub(channel)

    async def submit(self) -> None:
        await self._txqueue.SubmitFrame(frame(rows(1)), timeout=10)

    async def put_for_ever(self, value: bytes) -> None:
        """Put a value under one key after another."""
        while True:
            self._puts += 1
            record = rows(
                1,
                sequence=self._puts,
                operation=opcode.PUT,
                key_lo=self._puts,
                operand_hi=8,
                payload_length=len(value),
            )
            await self._txqueue.SubmitFrame(frame(record, value), timeout=10)

    async def conditions(self) -> dict[str, str]:
        status = await self._status.GetStatus(node_pb2.GetStatusRequest(), timeout=10)
        return {condition.name: condition.detail for condition in status.conditions}

    async def becomes(self, healthy: bool) -> None:
        """Watch the health until it is so."""
        async with asyncio.timeout(15):
            async for response in self._health.Watch(health_pb2.HealthCheckRequest()):
                if (response.status == HEALTHY) is healthy:
                    return


@asynccontextmanager
async def running(directory: Path, parts: NodeParts) -> AsyncIterator[RunningNode]:
    settings = NodeSettings.model_validate(
        {
            "node": {"data_dir": directory / "data"},
            "listen": {"addresses": [f"unix:{directory}/node.sock"]},
            "log": {"sync_mode": "interval", "segment_bytes": 8 << 20},
            "state": {"session_bytes_max": 1 << 20},
            "shutdown": {"grace_s": 0},
        }
    )
    node = Node(settings, parts)
    (address,) = await node.start()
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            yield RunningNode(node, channel)
        finally:
            await node.stop()


def log_on(disk: Disk) -> Callable[[NodeSettings, Clock, Executor], WriteAheadLog]:
    def open_log(settings: NodeSettings, clock: Clock, executor: Executor) -> WriteAheadLog:
        return WriteAheadLog.open(
            settings.node.data_dir / "log",
            settings.node.cluster_id,
            segment_bytes=settings.log.segment_bytes,
            sync_mode=settings.log.sync_mode,
            interval_ms=settings.log.sync_interval_ms,
            disk=disk,
            clock=clock,
            executor=executor,
        )

    return open_log


async def test_a_background_sync_that_hangs_is_told_within_seconds_and_ends_by_itself(tmp_path: Path) -> None:
    disk = SickDisk()
    async with running(tmp_path, NodeParts(log=log_on(disk), clock=FastClock())) as node:
        disk.hangs = threading.Event()
        try:
            await node.submit()
            await node.becomes(healthy=False)
            assert (await node.conditions())["disk_slow"].count("(syncing in the background for")
        finally:
            disk.hangs.set()
        await node.becomes(healthy=True)
        assert await node.conditions() == {}


async def test_a_background_sync_that_fails_ends_an_idle_node(tmp_path: Path) -> None:
    disk = SickDisk()
    async with running(tmp_path, NodeParts(log=log_on(disk))) as node:
        await node.submit()
        disk.fails = True
        async with asyncio.timeout(10):
            assert isinstance(await node.node.failure, LogFailed)


async def test_a_node_that_starts_with_full_tables_serves_but_is_not_healthy(tmp_path: Path) -> None:
    def small(settings: NodeSettings) -> StateMachine:
        return StateMachine(bytes_max=8 << 20, session_bounds=settings.state.session_bounds())

    async with running(tmp_path, NodeParts(state=small)) as node:
        assert await node.conditions() == {}
        for value_bytes in (1 << 16, 1 << 12, 1 << 6, 1):
            with pytest.raises(grpc.aio.AioRpcError, match=r"raise state\.bytes_max"):
                await node.put_for_ever(bytes(value_bytes))
    async with running(tmp_path, NodeParts(state=small)) as node:
        assert set(await node.conditions()) == {"tables_full"}
        await node.becomes(healthy=False)
