"""Call server: gRPC's asyncio server with loops of ours that take the calls, one for each method.

gRPC's own loop ends the whole server, its sockets unlinked, on a single call whose method's name is no UTF-8 (grpcio
1.85). Here all methods are registered with gRPC's core, which compares names as bytes, and a call under any other name
is refused without a look at it. No method's calls queue behind another's; and a call costs a fifth less processor time
than with gRPC's loop, which waits for all of a server anew with each call.

This stands on names of ``grpc._cython.cygrpc`` that gRPC does not promise: pyproject.toml bounds grpcio's version.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

import grpc
import grpc.aio
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # has no types

from penstock.contract.reasons import Reason
from services.refusal import Refusal
from services.rpc.handlers import ServiceHandler
from services.rpc.rich_status import abort

_UNKNOWN: Final = Refusal(Reason.METHOD_UNKNOWN)

logging.getLogger("grpc._cython.cygrpc").addFilter(
    # Of a client's metadata that is no UTF-8, which gRPC then takes for Latin-1: any client could fill the node's log.
    lambda record: not str(record.msg).startswith("Invalid encoding on")
)


class CallServer(cygrpc.AioServer):  # type: ignore[misc]  # has no types
    """A server of some services. Belongs to one event loop, in which it is made.

    Life: `add_insecure_port` for each address, `start`, `shutdown`. The last two are gRPC's own.
    """

    def __init__(
        self,
        services: Sequence[ServiceHandler],
        options: Sequence[tuple[str, int]],
        *,
        calls_max: int,
        on_failure: Callable[[Exception], None],
    ) -> None:
        """Serve at most ``calls_max`` calls at once, refuse more; tell ``on_failure`` why none are taken any more."""
        self._event_loop = asyncio.get_running_loop()
        super().__init__(self._event_loop, None, (), None, options, None)
        self._methods = {name: handler for service in services for name, handler in service.methods.items()}
        self.add_registered_method_handlers(self._methods)
        self._resolver = cygrpc._MethodResolver([], self._methods)
        self._calls_max = calls_max
        self._on_failure = on_failure
        self._calls: set[asyncio.Task[None]] = set()
        self._refusing: set[asyncio.Task[None]] = set()
        self._ending = False

    def add_insecure_port(self, address: str) -> int:
        """Listen at an address without encryption; returns the port, 1 for a Unix socket.

        Raises:
            RuntimeError: it cannot be listened on.
        """
        port: int = super().add_insecure_port(address.encode())
        if not port:
            raise RuntimeError(f"cannot listen on {address}")
        return port

    async def shutdown(self, grace: float | None) -> None:
        """Take no more calls, and cut what is left of those under way after ``grace`` seconds; None: at once."""
        self._ending = True
        await super().shutdown(grace)

    async def _server_main_loop(self, server_started: "asyncio.Future[bool]") -> None:
        try:
            async with asyncio.TaskGroup() as group:
                # gRPC's loop starts the server, and is left with the calls of unknown methods.
                group.create_task(super()._server_main_loop(server_started))
                await server_started
                for name in self._methods:
                    group.create_task(self._take(name))
        except* Exception as failures:
            self._on_failure(failures)

    def _make_request_call_future(self, method: bytes | None) -> "asyncio.Future[Any]":
        """Give gRPC's loop what it waits for: nothing where a loop of ours takes the method's calls."""
        if method is not None:
            return self._event_loop.create_future()
        return self._event_loop.create_task(self._refuse_unknown_methods())

    async def _refuse_unknown_methods(self) -> None:
        """Refuse what comes by no registered name; ends as gRPC's loop expects, by the error of a server that stops."""
        while True:
            self._refuse(await self._request_call(), _UNKNOWN)

    async def _take(self, name: str) -> None:
        """Take the calls of one method until the server stops."""
        method, loop, calls = name.encode(), self._event_loop, self._calls
        while True:
            try:
                call = await self._request_registered_call(method)
            except cygrpc._RequestCallError:
                if self._ending:
                    return
                continue
            if len(calls) >= self._calls_max:
                text = f"{len(calls):,} calls are open at the node, as many as may be: try later"
                self._refuse(call, Refusal(Reason.CALLS_LIMIT, text))
                continue
            handling: Coroutine[Any, Any, None] = cygrpc._handle_rpc(name, self._resolver, (), call, loop, False)
            task = loop.create_task(cygrpc._schedule_rpc_coro(handling, call, loop, name))
            calls.add(task)
            task.add_done_callback(calls.discard)

    def _refuse(self, call: object, refusal: Refusal) -> None:
        task = self._event_loop.create_task(self._answer(call, refusal))
        self._refusing.add(task)
        task.add_done_callback(self._refusing.discard)

    async def _answer(self, call: object, refusal: Refusal) -> None:
        with suppress(grpc.aio.BaseError):  # it was refused, or its client has gone
            await abort(cygrpc._ServicerContext(call, None, None, self._event_loop), refusal)
