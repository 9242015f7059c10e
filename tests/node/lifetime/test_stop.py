"""A node stops when it is told to, at any moment and whatever hangs."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock.v1 import txqueue_pb2_grpc
from services.cli import EXIT_TERMINATED
from services.runtime.stop_deadline import EXIT_CUT
from tests.eventually import eventually
from tests.frames import frame, rows
from tests.node.serve_process import ServeProcess

GRACE = ("--set", "shutdown.grace_s=2")
_AS_FIRST_PROCESS = ("unshare", "--pid", "--fork", "--kill-child")
BOUND_S = 2 + 5 + 3
"""The grace, what closing may take, and what a busy machine may."""


def test_an_open_health_watch_does_not_hold_a_stop_up(node: ServeProcess) -> None:
    with grpc.insecure_channel(node.target) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        started = time.monotonic()
        assert node.stop() == 0
        assert time.monotonic() - started < 5, "the grace is 10 s"
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def disk_to_freeze(tmp_path: Path) -> Iterator[Path]:
    """A file system on a loop device, thawed at the end."""
    if os.geteuid() or not shutil.which("fsfreeze"):
        pytest.skip("freezing a file system takes root and fsfreeze")
    image, disk = tmp_path / "image", tmp_path / "disk"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(256 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(disk)], check=True)
    yield disk
    subprocess.run(["fsfreeze", "-u", str(disk)], check=False, capture_output=True)
    eventually(
        lambda: subprocess.run(["umount", str(disk)], check=False, capture_output=True).returncode == 0, "an unmount"
    )


@pytest.mark.slow
def test_a_disk_that_hangs_is_told_of_and_does_not_hold_a_stop_up(disk_to_freeze: Path, tmp_path: Path) -> None:
    options = (*GRACE, "--set", "log.segment_bytes=8MiB", "--data-dir", str(disk_to_freeze / "data"))
    with ServeProcess(tmp_path, *options) as node, grpc.insecure_channel(node.target) as channel:
        stub = txqueue_pb2_grpc.TxQueueServiceStub(channel)
        stub.SubmitFrame(frame(rows(1, client_id=1)), timeout=10)
        subprocess.run(["fsfreeze", "-f", str(disk_to_freeze)], check=True)
        hanging = stub.SubmitFrame.future(frame(rows(1, client_id=2)), timeout=60)
        eventually(lambda: [each.name for each in node.status().conditions] == ["disk_slow"], "the condition")
        assert not node.healthy()
        process = node.process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        # The kernel keeps a thread that writes to a frozen disk, and what is left of its process with it.
        ended = psutil.Process(process.pid)
        eventually(lambda: ended.status() == psutil.STATUS_ZOMBIE, "the end", timeout_s=BOUND_S)
        assert hanging.exception() is not None
        subprocess.run(["fsfreeze", "-u", str(disk_to_freeze)], check=True)
        assert process.wait(10) == EXIT_CUT
        assert "the node is cut off: it has not stopped after 7 s" in node.output.read_text()
        node.start()
        assert node.status().applied_transactions in (1, 2)


@pytest.mark.slow
def test_a_second_signal_ends_a_hanging_node_at_once(disk_to_freeze: Path, tmp_path: Path) -> None:
    options = ("--set", "shutdown.grace_s=60", "--data-dir", str(disk_to_freeze / "data"))
    with ServeProcess(tmp_path, *options) as node, grpc.insecure_channel(node.target) as channel:
        stub = txqueue_pb2_grpc.TxQueueServiceStub(channel)
        subprocess.run(["fsfreeze", "-f", str(disk_to_freeze)], check=True)
        stub.SubmitFrame.future(frame(rows(1, client_id=2)), timeout=60)
        process = node.process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        eventually(lambda: "stopping" in node.output.read_text(), "the first signal")
        process.send_signal(signal.SIGTERM)
        ended = psutil.Process(process.pid)
        eventually(lambda: ended.status() == psutil.STATUS_ZOMBIE, "the end", timeout_s=5)
        subprocess.run(["fsfreeze", "-u", str(disk_to_freeze)], check=True)
        assert process.wait(10) == EXIT_CUT
        assert "told to stop a second time" in node.output.read_text()


@pytest.mark.parametrize("delay_s", [0.15, 0.5, 1.0])
def test_the_first_process_of_a_container_hears_a_stop_while_it_starts(tmp_path: Path, delay_s: float) -> None:
    node = ServeProcess(tmp_path)
    if subprocess.run([*_AS_FIRST_PROCESS, "true"], check=False, capture_output=True).returncode:
        pytest.skip("a process namespace takes root")
    with node.output.open("ab") as output:
        outer = subprocess.Popen([*_AS_FIRST_PROCESS, *node.command], stdout=output, stderr=output)
    try:
        eventually(lambda: psutil.Process(outer.pid).children(), "the first process")
        (first,) = psutil.Process(outer.pid).children()
        started_s = first.create_time()
        eventually(lambda: _hears(first.pid) and time.time() - started_s >= delay_s, "its moment")
        assert not Path(node.target.removeprefix("unix:")).exists(), "it is starting still"
        first.send_signal(signal.SIGTERM)
        assert outer.wait(5) == EXIT_TERMINATED
    finally:
        outer.kill()
        outer.wait(10)


def _hears(pid: int) -> bool:
    """Whether a process has a handler for SIGTERM."""
    caught = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1))
