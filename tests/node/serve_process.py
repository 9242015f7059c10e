"""A real node in a process of its own, for tests of the whole."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock.v1 import node_pb2, node_pb2_grpc
from tests.eventually import eventually

START_TIMEOUT_S = 120.0  # the first start of all compiles


class ServeProcess:
    """``penstock serve`` on a Unix socket; as a context manager it is stopped at the end."""

    def __init__(self, directory: Path, *options: str, environment: dict[str, str] | None = None) -> None:
        self.directory = directory
        self.target = f"unix:{directory}/node.sock"
        self.output = directory / "node.log"
        self.command = [
            sys.executable, "-m", "services.cli.main", "serve",
            "--data-dir", str(directory / "data"), "--listen", self.target, *options,
        ]  # fmt: skip
        self._environment = os.environ | (environment or {})
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log_directory(self) -> Path:
        return self.directory / "data" / "log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    def spawn(self) -> "subprocess.Popen[bytes]":
        """Start the process without waiting for it to serve."""
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(self.command, stdout=output, stderr=output, env=self._environment)
        return self.process

    def start(self) -> float:
        """Start and wait until the node says that it serves; returns the seconds this took."""
        started = time.monotonic()
        process = self.spawn()

        def serves() -> bool:
            assert process.poll() is None, f"the node ended with {process.returncode}: {self.output.read_text()}"
            return self.healthy()

        eventually(serves, "a node that serves", timeout_s=START_TIMEOUT_S)
        return time.monotonic() - started

    def healthy(self) -> bool:
        if not Path(self.target.removeprefix("unix:")).exists():
            return False
        with grpc.insecure_channel(self.target) as channel:
            try:
                response = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
            except grpc.RpcError:
                return False
            return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

    def status(self, *, with_state_digest: bool = False) -> node_pb2.GetStatusResponse:
        with grpc.insecure_channel(self.target) as channel:
            return node_pb2_grpc.NodeServiceStub(channel).GetStatus(
                node_pb2.GetStatusRequest(with_state_digest=with_state_digest), timeout=10
            )

    def kill(self) -> None:
        """End the process as a power cut would, but for the page cache."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self, timeout_s: float = 30.0) -> int:
        """Ask the node to stop; returns its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def fails_with(self) -> tuple[int, str]:
        """Start a node that is expected to refuse; returns its exit code and what it printed."""
        code = self.spawn().wait(START_TIMEOUT_S)
        return code, self.output.read_text()
