"""Node process: ``penstock serve`` as a child process, for measurements and tests."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from loadtest.node.child_process import command_of_child
from loadtest.node.leftovers import temporary_directory
from loadtest.verify.verify_log import NodeDigests
from penstock.contract.target import parse_target
from penstock.v1.node_pb2 import GetStatusRequest, GetStatusResponse
from penstock.v1.node_pb2_grpc import NodeServiceStub

PENSTOCK: Final = (sys.executable, "-m", "services.cli.main")
_STARTUP_DEADLINE_S: Final = 120.0
_STOP_DEADLINE_S: Final = 60.0
_POLL_S: Final = 0.02


class NodeFailed(Exception):
    """The node did not start, or ended by itself; the message has the end of its output."""


class NodeProcess:
    """``penstock serve`` on a data directory, listening on a Unix socket; :func:`running_node` stops it, too.

    The process ends with the thread that started it, or with the whole process of that, even where this is killed.

    Args:
        data_dir: the node's data, and its output in ``node.out`` unless ``output`` says otherwise; made where missing.
        socket: path of the socket, 107 bytes at most.
        options: those of ``penstock serve``.
        program: the command that ``serve`` is given to: ``penstock``, or what stands in for it.
        directory: where the process runs; the caller's by default.
        environment: the process's variables; by default the caller's without those that are settings of Penstock, so
            that the node is what its options say.
        output: the file that the node's output is added to.
    """

    def __init__(
        self,
        data_dir: Path,
        socket: Path,
        *options: str,
        program: tuple[str, ...] = PENSTOCK,
        directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
        output: Path | None = None,
    ) -> None:
        self.target = f"unix:{socket}"
        self.data_dir = data_dir
        self.log_directory = data_dir / "log"
        self.output = output or data_dir / "node.out"
        self._command = (*program, "serve", "--data-dir", str(data_dir), "--listen", self.target, *options)
        self._directory = directory
        if environment is None:
            environment = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        """Start the process, again where it has ended, without waiting for it to serve."""
        assert self._process is None or self._process.poll() is not None, "it runs already"
        self.output.parent.mkdir(parents=True, exist_ok=True)
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                command_of_child(*self._command),
                stdout=output,
                stderr=output,
                env=self._environment,
                cwd=self._directory,
            )

    def start(self) -> float:
        """Start the process, and return the seconds until the health service says that it serves.

        Raises:
            NodeFailed: the node ended, or did not serve within two minutes.
        """
        self.spawn()
        return self.wait_until_serving()

    def wait_until_serving(self) -> float:
        """Wait until the health service says that the process serves, and return the seconds that took.

        Raises:
            NodeFailed: the node ended, or did not serve within two minutes.
        """
        started = time.monotonic()
        assert self._process is not None
        while not is_serving(self.target):
            if self._process.poll() is not None:
                raise NodeFailed(f"the node ended with code {self._process.returncode}:\n{self.last_output()}")
            if time.monotonic() > started + _STARTUP_DEADLINE_S:
                raise NodeFailed(f"the node did not serve within {_STARTUP_DEADLINE_S:g} s:\n{self.last_output()}")
            time.sleep(_POLL_S)
        return time.monotonic() - started

    @property
    def pid(self) -> int:
        """The process, which must have been started."""
        assert self._process is not None
        return self._process.pid

    def cpu_s(self) -> float:
        """Processor time that the node has used."""
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)

    def stop(self) -> None:
        """Ask the node to end, and wait for it.

        Raises:
            NodeFailed: it did not end within a minute, or with another code than 0.
        """
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            code = self.wait(_STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise NodeFailed(f"the node did not stop within {_STOP_DEADLINE_S:g} s:\n{self.last_output()}") from None
        if code != 0:
            raise NodeFailed(f"the node ended with code {code}:\n{self.last_output()}")

    def wait(self, timeout_s: float) -> int:
        """Wait until the node has ended by itself; return its exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        assert self._process is not None
        return self._process.wait(timeout_s)

    def kill(self) -> None:
        """End the node at once, as a crash would; nothing where it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def last_output(self) -> str:
        """The last lines that the node wrote."""
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-15:])


@contextmanager
def running_node(data_dir: Path, *options: str, program: tuple[str, ...] = PENSTOCK) -> Iterator[NodeProcess]:
    """A node that serves; killed at the end where it was not stopped. The arguments are those of :class:`NodeProcess`.

    Raises:
        NodeFailed: it did not start.
    """
    with temporary_directory() as sockets:  # a socket's path has 107 bytes at most
        node = NodeProcess(data_dir, sockets / "node.sock", *options, program=program)
        try:
            node.start()
            yield node
        finally:
            node.kill()


def is_serving(target: str) -> bool:
    """Whether a node answers there and reports that it serves."""
    with _channel(target) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1.0)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def status_of(target: str, *, with_state_digest: bool = False) -> GetStatusResponse:
    """The node's own report.

    Raises:
        grpc.RpcError: no node answers there.
    """
    with _channel(target) as channel:
        return NodeServiceStub(channel).GetStatus(GetStatusRequest(with_state_digest=with_state_digest), timeout=60.0)


def status_once_it_answers(target: str, *, deadline_s: float = 20.0) -> GetStatusResponse:
    """The report of a node that may be starting again.

    Raises:
        NodeFailed: none answered in time.
    """
    until_s = time.monotonic() + deadline_s
    while True:
        try:
            return status_of(target)
        except grpc.RpcError as error:
            if time.monotonic() > until_s:
                raise NodeFailed(
                    f"no node has answered at {target} for {deadline_s:g} s: {error.code().name}"
                ) from None
        time.sleep(_POLL_S)


def _channel(target: str) -> grpc.Channel:
    named = parse_target(target)
    return grpc.insecure_channel(named.address, options=named.channel_options)


def digests_of(status: GetStatusResponse) -> NodeDigests:
    """The part of a status that the verification of a log compares."""
    return NodeDigests(status.applied_index, status.effects_digest, status.state_digest, status.applied_transactions)
