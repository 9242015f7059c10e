import asyncio
import socket
import sys

import pytest

from services.runtime.debug_monitor import MonitorError, attached
from services.settings.model import MonitorSettings


def free_ports() -> int:
    """Find the first of three free ports in a row."""
    for first in range(20_500, 30_000, 3):
        probes = [socket.socket() for _ in range(3)]
        try:
            for number, probe in enumerate(probes):
                probe.bind(("127.0.0.1", first + number))
        except OSError:
            continue
        else:
            return first
        finally:
            for probe in probes:
                probe.close()
    raise AssertionError("no three free ports")


async def greeting(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = await asyncio.wait_for(reader.read(64), 5)
    writer.close()
    return got


async def test_the_monitor_answers_on_this_machine_while_attached() -> None:
    port = free_ports()
    with attached(MonitorSettings(enabled=True, port=port), answer=42):
        assert await greeting(port)
    with pytest.raises(OSError):  # noqa: PT011 - refused or reset, as the system likes
        await greeting(port)


async def test_a_monitor_that_is_off_opens_nothing() -> None:
    port = free_ports()
    imported = "aiomonitor" in sys.modules
    with attached(MonitorSettings(port=port)), pytest.raises(ConnectionRefusedError):
        await greeting(port)
    assert ("aiomonitor" in sys.modules) == imported


@pytest.mark.parametrize("which", [0, 1, 2])
async def test_a_taken_port_is_an_error_that_says_which(which: int) -> None:
    port = free_ports()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + which))
        taken.listen()
        with pytest.raises(MonitorError, match=str(port + which)), attached(MonitorSettings(enabled=True, port=port)):
            pass
