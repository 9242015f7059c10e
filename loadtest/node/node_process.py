"""A node in a process of its own, started for a measurement and stopped after it."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from loadtest.verify.verify_log import NodeDigests
from penstock.v1.node_pb2 import GetStatusRequest, GetStatusResponse
from penstock.v1.node_pb2_grpc import NodeServiceStub

PENSTOCK: Final = ("-m", "services.cli.main")
_STARTUP_DEADLINE_S: Final = 120.0
_STOP_DEADLINE_S: Final = 60.0
_POLL_S: Final = 0.02


class NodeFailed(Exception):
    """The node did not start, or ended by itself; the message has the end of its output."""


class NodeProcess:
    """``penstock serve`` on a data directory, listening on a Unix socket. Use :func:`running_node`."""

    def __init__(
        self, data_dir: Path, socket_dir: Path, options: tuple[str, ...], program: tuple[str, ...] = PENSTOCK
    ) -> None:
        self.target = f"unix:{socket_dir / 'node.sock'}"
        self.log_directory = data_dir / "log"
        self.output = data_dir / "node.out"
        data_dir.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, *program, "serve", "--data-dir", str(data_dir), "--listen", self.target]
        # The caller's PENSTOCK_ variables are for nodes of its own; this one must be what the report says it is.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        with self.output.open("ab") as output:
            self._process = subprocess.Popen([*command, *options], stdout=output, stderr=output, env=environment)

    def wait_until_serving(self) -> None:
        """Return when the health service says so; raises :class:`NodeFailed`."""
        deadline = time.monotonic() + _STARTUP_DEADLINE_S
        while not is_serving(self.target):
            if self._process.poll() is not None:
                raise NodeFailed(f"the node ended with code {self._process.returncode}:\n{self.last_output()}")
            if time.monotonic() > deadline:
                raise NodeFailed(f"the node did not serve within {_STARTUP_DEADLINE_S:g} s:\n{self.last_output()}")
            time.sleep(_POLL_S)

    def cpu_s(self) -> float:
        """Processor time the node has used."""
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def stop(self) -> None:
        """Ask the node to end and wait for it; raises :class:`NodeFailed` where it did not end well."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(_STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise NodeFailed(f"the node did not stop within {_STOP_DEADLINE_S:g} s:\n{self.last_output()}") from None
        if code != 0:
            raise NodeFailed(f"the node ended with code {code}:\n{self.last_output()}")

    def kill(self) -> None:
        """End the node at once, as a crash would."""
        self._process.kill()
        self._process.wait()

    def last_output(self) -> str:
        """The last lines that the node wrote."""
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-15:])


@contextmanager
def running_node(data_dir: Path, *options: str, program: tuple[str, ...] = PENSTOCK) -> Iterator[NodeProcess]:
    """A node that serves; killed at the end where it was not stopped. ``options`` are those of ``penstock serve``.

    ``program`` is what Python runs: ``penstock``, or something that makes changes to it first.
    """
    with tempfile.TemporaryDirectory(prefix="penstock-") as sockets:  # a socket's path has 107 bytes at most
        node = NodeProcess(data_dir, Path(sockets), options, program)
        try:
            node.wait_until_serving()
            yield node
        finally:
            node.kill()


def is_serving(target: str) -> bool:
    """Whether a node answers there, and says that it serves."""
    with grpc.insecure_channel(target) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1.0)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def status_of(target: str, *, with_state_digest: bool = False) -> GetStatusResponse:
    """What the node says of itself; raises ``grpc.RpcError``."""
    with grpc.insecure_channel(target) as channel:
        return NodeServiceStub(channel).GetStatus(GetStatusRequest(with_state_digest=with_state_digest), timeout=60.0)


def digests_of(status: GetStatusResponse) -> NodeDigests:
    """The part of a status that a check of the log can hold against it."""
    return NodeDigests(status.applied_index, status.effects_digest, status.state_digest, status.applied_transactions)
