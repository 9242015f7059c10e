"""Reads and watches that answer from what a test puts there. For tests only."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc import aio

from penstock.v1 import node_pb2, node_pb2_grpc, state_pb2, state_pb2_grpc

Context = aio.ServicerContext[Any, Any]


class FakeState(state_pb2_grpc.StateServiceServicer, node_pb2_grpc.NodeServiceServicer):
    def __init__(self) -> None:
        self.entries: dict[bytes, state_pb2.Entry] = {}
        """By the serialised key."""
        self.failures = 0
        """So many of the next reads are answered UNAVAILABLE."""
        self.answering = asyncio.Event()
        self.answering.set()
        self.blocks: list[state_pb2.WatchResponse] = []
        self.breaks_after = 0
        """A watch ends with UNAVAILABLE after so many blocks; 0: it does not."""
        self.watches: list[state_pb2.WatchRequest] = []

    def add_to(self, server: aio.Server) -> None:
        state_pb2_grpc.add_StateServiceServicer_to_server(self, server)
        node_pb2_grpc.add_NodeServiceServicer_to_server(self, server)

    async def Read(self, request: state_pb2.ReadRequest, context: Context) -> state_pb2.ReadResponse:
        await self._fail(context)
        return state_pb2.ReadResponse(entry=self._entry(request.key), log_index=42)

    async def BatchRead(self, request: state_pb2.BatchReadRequest, context: Context) -> state_pb2.BatchReadResponse:
        await self._fail(context)
        return state_pb2.BatchReadResponse(entries=[self._entry(key) for key in request.keys], log_index=42)

    async def Watch(self, request: state_pb2.WatchRequest, context: Context) -> AsyncIterator[state_pb2.WatchResponse]:
        self.watches.append(request)
        await context.send_initial_metadata(())
        blocks = [block for block in self.blocks if block.log_index >= request.from_index]
        for sent, block in enumerate(blocks, 1):
            yield block
            if sent == self.breaks_after:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "broken on purpose")
        await asyncio.Event().wait()

    async def GetStatus(self, request: node_pb2.GetStatusRequest, context: Context) -> node_pb2.GetStatusResponse:
        return node_pb2.GetStatusResponse(condition="serving", state_digest=int(request.with_state_digest))

    def _entry(self, key: state_pb2.Key) -> state_pb2.Entry:
        return self.entries.get(key.SerializeToString(), state_pb2.Entry())

    async def _fail(self, context: Context) -> None:
        await self.answering.wait()
        if self.failures:
            self.failures -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "busy on purpose")
