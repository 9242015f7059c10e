"""Debug monitor: aiomonitor attached to the running event loop, where the settings ask for it.

Whoever reaches its ports controls the process, so it is offered to this machine alone and is off by default.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator
from typing import Any, Final

from services.settings.model import MonitorSettings

_HOST: Final = "127.0.0.1"
_PORTS: Final = 3
"""The terminal, the web page, the Python console."""


class MonitorError(Exception):
    """The monitor's ports cannot be bound."""


@contextlib.contextmanager
def attached(settings: MonitorSettings, **console_locals: Any) -> Iterator[None]:
    """Offer the monitor for the running loop inside the ``with`` block, where it is enabled.

    Args:
        settings: which ports, and whether at all.
        console_locals: what the Python console finds by name.

    Raises:
        MonitorError: one of the three ports is taken.
    """
    if not settings.enabled:
        yield
        return
    ports = range(settings.port, settings.port + _PORTS)
    _check_free(ports)
    import aiomonitor

    loop = asyncio.get_running_loop()
    terminal, web, console = ports
    with aiomonitor.start_monitor(
        loop, host=_HOST, port=terminal, webui_port=web, console_port=console, locals=console_locals
    ):
        yield


def _check_free(ports: range) -> None:
    """Bind each port for a moment: aiomonitor would hang, or share the port of another process, where it is taken."""
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, port))
            except OSError as error:
                name = errno.errorcode.get(error.errno or 0, "?")
                raise MonitorError(
                    f"the monitor needs ports {ports[0]} to {ports[-1]} of {_HOST}; {port} cannot be bound ({name}): "
                    "choose another monitor.port, or switch monitor.enabled off"
                ) from error
