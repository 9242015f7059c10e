"""A node reads its sockets in the thread that waits for messages."""

import os
import subprocess
import sys

import pytest

from services.runtime import grpc_tuning

PROGRAM = """
import asyncio, os, sys
from services.runtime.grpc_tuning import read_where_it_is_awaited
if sys.argv[1] == "chosen":
    read_where_it_is_awaited()
import grpc, threading
from pathlib import Path

async def take(requests, context):
    async for message in requests:
        yield b""

async def main(socket):
    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(take)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Test", {"Take": handler}),))
    server.add_insecure_port(socket)
    await server.start()
    print("serving", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    switches = 0
    for status in Path("/proc/self/task").glob("*/status"):
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        if lines["Name"].strip() == "event_engine":
            switches += int(lines["voluntary_ctxt_switches"])
    print(switches)
    await server.stop(0)

asyncio.run(main(sys.argv[2]))
"""

CLIENT = """
import grpc, sys
with grpc.insecure_channel(sys.argv[1]) as channel:
    call = channel.stream_stream("/Test/Take")(iter([bytes(640_000)] * 100))
    assert sum(1 for _ in call) == 100
"""


def switches_of_the_pool(choice: str, directory: object) -> int:
    """Of gRPC's pool of threads in a server that took a hundred frames."""
    socket = f"unix:{directory}/{choice}"
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_EXPERIMENTS"}
    command = [sys.executable, "-c", PROGRAM, choice, socket]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert server.stdout is not None
    assert server.stdout.readline() == "serving\n"
    subprocess.run([sys.executable, "-c", CLIENT, socket], check=True, timeout=60)
    output, _ = server.communicate("", timeout=60)
    assert server.returncode == 0
    return int(output)


def test_the_choice_takes_the_pool_of_threads_out_of_the_way(tmp_path: object) -> None:
    assert switches_of_the_pool("default", tmp_path) > 3 * switches_of_the_pool("chosen", tmp_path)


def test_a_choice_in_the_environment_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRPC_EXPERIMENTS", "mine")
    grpc_tuning.read_where_it_is_awaited()
    with grpc_tuning.children_read_where_it_is_awaited():
        assert os.environ["GRPC_EXPERIMENTS"] == "mine"
    assert os.environ["GRPC_EXPERIMENTS"] == "mine"


def test_children_have_the_choice_and_the_parent_does_not_keep_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRPC_EXPERIMENTS", raising=False)
    with grpc_tuning.children_read_where_it_is_awaited():
        assert os.environ["GRPC_EXPERIMENTS"] == "-event_engine_listener"
    assert "GRPC_EXPERIMENTS" not in os.environ
    grpc_tuning.read_where_it_is_awaited()
    assert os.environ["GRPC_EXPERIMENTS"] == "-event_engine_listener"
