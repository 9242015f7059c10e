"""The process of a node: from its start to the signal that ends it, and the exit code that says how it went."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from typing import Final

from services.node import ANSWERS_S_MIN, Node
from services.node_parts import NodeParts
from services.runtime import descriptors, malloc_tuning
from services.runtime.debug_monitor import attached
from services.runtime.stop_deadline import StopDeadline
from services.settings.model import NodeSettings

EXIT_OK: Final = 0
EXIT_FAILED: Final = 74
"""EX_IOERR of sysexits.h: the log or the state cannot go on; the message says why."""

_CLOSE_S: Final = 5.0
"""What closing everything may take after the grace, before the process is cut off."""

_log = logging.getLogger("penstock.node")


async def run(
    settings: NodeSettings,
    parts: NodeParts = NodeParts(),  # noqa: B008 - immutable
    on_serving: Callable[[list[str]], None] = lambda _: None,
) -> int:
    """Run a node until SIGINT or SIGTERM, or until it fails; returns the process's exit code.

    ``on_serving`` is told the addresses once the node serves. Raises what `Node.start` does, and MonitorError.
    """
    malloc_tuning.keep_large_messages_in_the_heap()
    descriptors.raise_limit()
    loop = asyncio.get_running_loop()
    told_to_stop = asyncio.Event()
    deadline = StopDeadline(max(settings.shutdown.grace_s, ANSWERS_S_MIN) + _CLOSE_S, parts.clock, parts.executor)
    node = Node(settings, parts, on_closing=deadline.begin)

    def on_signal() -> None:
        if told_to_stop.is_set():
            deadline.cut("it was told to stop a second time")
        told_to_stop.set()

    with deadline, attached(settings.monitor, node=node):
        addresses = await node.start()
        for number in (signal.SIGINT, signal.SIGTERM):  # until here they end the process, which has promised nothing
            loop.add_signal_handler(number, on_signal)
        _log.info("%s (process %d) serves at %s", settings.node.name, os.getpid(), ", ".join(addresses))
        on_serving(addresses)
        stop = asyncio.create_task(told_to_stop.wait())
        await asyncio.wait((stop, node.failure), return_when=asyncio.FIRST_COMPLETED)
        _log.info("stopping: what was accepted is answered first")
        told_to_stop.set()
        await node.stop()
    return EXIT_FAILED if node.failure.done() else EXIT_OK
