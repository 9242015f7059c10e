"""A node closes what it opened, in reverse, whether it had started or not."""

import asyncio
import contextlib
import gc
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from penstock.host.clock import Clock
from penstock.host.executor import IDLE_NAME, THREADS, Executor, Running
from replication.log.write_ahead_log import WriteAheadLog
from services.node import Node
from services.node_parts import NodeParts, open_log
from services.pipeline.applier import Applier
from services.pipeline.log_writer import LogWriter
from services.pipeline.sequencer import Sequencer
from services.pipeline.threaded_stage import ThreadedStage
from services.rpc.serving.listening import ListenError
from services.rpc.serving.server import NodeServer
from services.runtime.maintenance import Maintenance
from services.settings.model import NodeSettings
from services.telemetry import telemetry
from tests.eventually import eventually

FACTORIES = [field.name for field in fields(NodeParts) if field.name not in ("clock", "executor")]

UNLISTENABLE = {"addresses": ["unix:/no/such/directory/node.sock"]}


class Broken(Exception):
    """The step that the test has chosen."""


def settings_in(directory: Path, **groups: Any) -> NodeSettings:
    return NodeSettings.model_validate(
        {
            "node": {"data_dir": directory / "data"},
            "listen": {"addresses": [f"unix:{directory}/node.sock"]},
            "shutdown": {"grace_s": 0},
            **groups,
        }
    )


def held() -> tuple[list[str], list[str], object]:
    """What a node may leave behind in its process: threads, file descriptors, the collector's settings."""
    gc.collect()
    descriptors = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            descriptors.append(str(path.readlink()))
    names = [thread.name for thread in threading.enumerate()]
    threads = [name for name in names if name != IDLE_NAME and not name.startswith("asyncio_")]
    kinds = [path.split(":")[0] for path in descriptors]  # numbers of pipes and sockets differ
    return sorted(threads), sorted(kinds), (gc.get_threshold(), len(gc.callbacks))


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have the process keep already what it keeps for good once a node has run in it: kernels, gRPC's own thread."""

    async def keep_grpc() -> None:
        grpc.aio.init_grpc_aio()

    asyncio.run(keep_grpc())
    directory = tmp_path_factory.mktemp("warm")
    assert outcome_of(settings_in(directory), NodeParts()) is None
    # gRPC keeps a descriptor for good from the first server on that never served, and from the first failed listening.
    assert outcome_of(settings_in(directory), NodeParts(executor=NoThreadFor(Sequencer.name))) is not None
    assert outcome_of(settings_in(directory, listen=UNLISTENABLE), NodeParts()) is not None
    yield
    grpc.aio.shutdown_grpc_aio()


@pytest.fixture
def nothing_is_left(warm: None, tmp_path: Path) -> Iterator[None]:
    before = held()
    yield
    eventually(lambda: held() == before, "an end of all that the node had opened")
    if (tmp_path / "data" / "log").exists():
        WriteAheadLog.open(tmp_path / "data" / "log").close()  # its lock is free


def outcome_of(settings: NodeSettings, parts: NodeParts) -> BaseException | None:
    """Start a node and stop it; returns what the start raised."""

    async def start_and_stop() -> None:
        node = Node(settings, parts)
        await node.start()
        await node.stop()

    try:
        asyncio.run(start_and_stop())
    except (Broken, ListenError) as error:
        return error
    return None


def _with(**parts: Any) -> NodeParts:
    return replace(NodeParts(), **parts)


def broken(*_: object, **__: object) -> Any:
    raise Broken


@pytest.mark.usefixtures("nothing_is_left")
def test_a_node_that_has_stopped_leaves_nothing_behind(tmp_path: Path) -> None:
    assert outcome_of(settings_in(tmp_path), NodeParts()) is None


@pytest.mark.usefixtures("nothing_is_left")
@pytest.mark.parametrize("factory", FACTORIES)
def test_a_part_that_cannot_be_made_fails_the_start_and_closes_those_before_it(tmp_path: Path, factory: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = settings_in(tmp_path, telemetry={"prometheus": True, "prometheus_port": port})
    assert isinstance(outcome_of(settings, _with(**{factory: broken})), Broken)


class NoThreadFor:
    """Starts any thread but one."""

    def __init__(self, name: str) -> None:
        self._name = name

    def start(self, name: str, function: Callable[[], None]) -> Running:
        if name == self._name:
            raise Broken
        return THREADS.start(name, function)


@pytest.mark.usefixtures("nothing_is_left")
@pytest.mark.parametrize("stage", [Sequencer, LogWriter, Applier])
def test_a_stage_whose_thread_cannot_start_fails_the_start(tmp_path: Path, stage: type[ThreadedStage]) -> None:
    assert isinstance(outcome_of(settings_in(tmp_path), NodeParts(executor=NoThreadFor(stage.name))), Broken)


class ServerBrokenAfterStart(NodeServer):
    async def start(self) -> list[str]:
        await super().start()
        raise Broken


class ServerThatFails(NodeServer):
    def __init__(self, addresses: Any, services: Any, arriving: Any, on_failure: Callable[[Exception], None]) -> None:
        super().__init__(addresses, services, arriving, on_failure)
        self.fail = on_failure


def test_a_node_whose_server_takes_no_more_calls_fails(tmp_path: Path) -> None:
    servers: list[ServerThatFails] = []

    def server(*arguments: Any) -> ServerThatFails:
        servers.append(ServerThatFails(*arguments))
        return servers[-1]

    async def fail() -> BaseException:
        node = Node(settings_in(tmp_path), NodeParts(server=server))
        await node.start()
        servers[0].fail(Broken())
        await node.stop()
        return node.failure.result()

    assert isinstance(asyncio.run(fail()), Broken)


class ServerNeverServing(NodeServer):
    def set_serving(self, but_not: Collection[str] = ()) -> None:
        raise Broken


class MaintenanceBrokenAfterStart(Maintenance):
    def start(self) -> None:
        super().start()
        raise Broken


class UnwatchableTelemetry(telemetry.NoTelemetry):
    def __init__(self, *_: object) -> None:
        pass

    def watch_queue(self, _: object) -> None:
        raise Broken


@pytest.mark.usefixtures("nothing_is_left")
@pytest.mark.parametrize(
    "parts",
    [
        NodeParts(telemetry=UnwatchableTelemetry),
        NodeParts(server=ServerBrokenAfterStart),
        NodeParts(maintenance=MaintenanceBrokenAfterStart),
        NodeParts(server=ServerNeverServing),
    ],
    ids=["telemetry watches the ring", "server starts", "maintenance starts", "server serves"],
)
def test_a_step_that_breaks_after_it_was_taken_is_taken_back(tmp_path: Path, parts: NodeParts) -> None:
    assert isinstance(outcome_of(settings_in(tmp_path), parts), Broken)


def test_whatever_is_closed_after_a_failed_start_too_is_announced_before(tmp_path: Path) -> None:
    order: list[str] = []

    def note_close(settings: NodeSettings, clock: Clock, executor: Executor) -> WriteAheadLog:
        log = open_log(settings, clock, executor)
        close = log.close

        def noting_close() -> None:
            order.append("closed")
            close()

        log.close = noting_close  # type: ignore[method-assign]
        return log

    async def start() -> None:
        parts = NodeParts(log=note_close, server=ServerBrokenAfterStart)
        node = Node(settings_in(tmp_path), parts, on_closing=lambda: order.append("closing"))
        with pytest.raises(Broken):
            await node.start()

    asyncio.run(start())
    assert order == ["closing", "closed"]


@pytest.mark.usefixtures("nothing_is_left")
def test_an_address_that_is_taken_fails_the_start_and_frees_those_before_it(tmp_path: Path) -> None:
    addresses = [f"unix:{tmp_path}/node.sock", *UNLISTENABLE["addresses"]]
    settings = settings_in(tmp_path, listen={"addresses": addresses})
    assert isinstance(outcome_of(settings, NodeParts()), ListenError)


@pytest.mark.usefixtures("nothing_is_left")
@pytest.mark.parametrize("times", [1, 2])
def test_a_start_that_is_cancelled_while_it_opens_the_log_closes_it(tmp_path: Path, times: int) -> None:
    opening, cancelled = threading.Event(), threading.Event()

    def open_slowly(*arguments: Any) -> WriteAheadLog:
        opening.set()
        assert cancelled.wait(10)
        return open_log(*arguments)

    async def start_and_cancel() -> None:
        starting = asyncio.create_task(Node(settings_in(tmp_path), NodeParts(log=open_slowly)).start())
        await asyncio.to_thread(opening.wait)
        for _ in range(times):
            starting.cancel()
            await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.01, cancelled.set)
        with pytest.raises(asyncio.CancelledError):
            await starting

    asyncio.run(start_and_cancel())


def test_everything_is_closed_in_the_reverse_order_of_its_opening(tmp_path: Path) -> None:
    order: list[str] = []

    def noting(name: str, close: str, factory: Callable[..., Any], *arguments: Any) -> Any:
        part = factory(*arguments)
        order.append(name)
        really_close = getattr(part, close)

        def noting_close() -> None:
            order.append(f"{name} closed")
            really_close()

        setattr(part, close, noting_close)
        return part

    real = NodeParts()
    names = {"pools": "close", "queue": "close", "state": "close", "results_file": "close", "log": "close"}
    parts = _with(**{name: partial(noting, name, close, getattr(real, name)) for name, close in names.items()})
    assert outcome_of(settings_in(tmp_path), parts) is None
    opened, closed = order[: len(names)], order[len(names) :]
    assert sorted(opened) == sorted(names)
    assert closed == [f"{name} closed" for name in reversed(opened)]
