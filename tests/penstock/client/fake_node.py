"""A node that only answers: every transaction is OK, and a duplicate where its ids were seen before. For tests only."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import grpc
import numpy as np
from grpc import aio

from penstock.contract.opcode import END_SESSION
from penstock.contract.record import RECORD
from penstock.contract.result_code import DUPLICATE
from penstock.v1 import txqueue_pb2 as pb
from tests.penstock.client.fake_state import FakeState

Answer = Callable[[pb.SubmitStreamRequest], pb.FrameError | None]


class FakeNode:
    """Serves SubmitStream on a Unix socket or a free loopback port, and remembers what it took, over restarts too."""

    def __init__(self, socket: Path | None = None) -> None:
        self.target = "127.0.0.1:0" if socket is None else f"unix:{socket}"
        self.state = FakeState()
        self.frames: list[pb.SubmitStreamRequest] = []
        """Every frame taken, in order; refused ones are not."""
        self.ended: list[int] = []
        """Ids of the clients that ended their sessions; those frames are not among ``frames``."""
        self.ends_sessions = True
        """Whether an END_SESSION is answered."""
        self.streams = 0
        self.refusals: deque[pb.FrameError] = deque()
        """Given to the next frames, in their place."""
        self.refuse_where: Answer = lambda _: None
        self.lose_answers = 0
        """So many of the next frames are taken, but the stream breaks in place of their receipts."""
        self.garble_answers = 0
        """So many of the next frames are taken, but their receipts have a result too many."""
        self.answering = asyncio.Event()
        self.answering.set()
        self._seen: set[tuple[int, int]] = set()
        self._position = 0
        self._server: aio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = aio.server(options=[("grpc.max_receive_message_length", 16 << 20)])
        handler = grpc.stream_stream_rpc_method_handler(
            self._submit_stream,
            request_deserializer=pb.SubmitStreamRequest.FromString,
            response_serializer=pb.SubmitStreamResponse.SerializeToString,
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("penstock.v1.TxQueueService", {"SubmitStream": handler}),)
        )
        self.state.add_to(self._server)
        port = self._server.add_insecure_port(self.target)
        self.target = self.target if self.target.startswith("unix:") else f"127.0.0.1:{port}"
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    @property
    def running(self) -> bool:
        return self._server is not None

    async def restart_every(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            await self.stop()
            await self.start()

    @property
    def records(self) -> np.ndarray:
        """All records taken, RECORD[n]."""
        return np.concatenate([np.frombuffer(frame.records, RECORD) for frame in self.frames])

    async def _submit_stream(
        self, requests: AsyncIterator[pb.SubmitStreamRequest], context: aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.SubmitStreamResponse]:
        self.streams += 1
        async for request in requests:
            ending = np.frombuffer(request.records, RECORD)
            if ending["operation"][0] == END_SESSION:
                self.ended.append(int(ending["client_id"][0]))
                if self.ends_sessions:
                    yield pb.SubmitStreamResponse(frame_id=request.frame_id, log_index=1, results=b"\1")
                continue
            await self.answering.wait()
            error = self.refusals.popleft() if self.refusals else self.refuse_where(request)
            if error is not None:
                yield pb.SubmitStreamResponse(frame_id=request.frame_id, error=error)
                continue
            response = self._apply(request)
            if self.garble_answers:
                self.garble_answers -= 1
                response.results += bytes(1)
            if self.lose_answers:
                self.lose_answers -= 1
                await context.abort(grpc.StatusCode.UNAVAILABLE, "broken on purpose")
            yield response

    def _apply(self, request: pb.SubmitStreamRequest) -> pb.SubmitStreamResponse:
        self.frames.append(request)
        results = bytearray()
        for ids in np.frombuffer(request.records, RECORD)[["client_id", "sequence"]].tolist():
            results.append(1 | DUPLICATE if ids in self._seen else 1)
            self._seen.add(ids)
        first = self._position
        self._position += len(results)
        return pb.SubmitStreamResponse(
            frame_id=request.frame_id, log_index=len(self.frames), first_position=first, results=bytes(results)
        )
