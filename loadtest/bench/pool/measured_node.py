"""A node with pools or without: ``python -m loadtest.bench.pool.measured_node pooled|unpooled REPORT serve ...``.

They differ in what the benchmark asks about, and in nothing else. The unpooled one makes every object when it is
borrowed and drops it when it comes back, as many at once as the pools would lend; and Python collects garbage when it
likes.

Two more things are done in both. The collector's pauses are timed, by the same means, and written to REPORT as JSON at
the end; and segments of the log are given up behind the node, since minutes at full speed would fill any disk.
"""

import gc
import json
import os
import sys
import threading
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

from penstock.host.clock import Clock
from penstock.host.executor import Executor
from pooling.gc.gc_pauses import GcPauses
from pooling.manager import ObjectPoolManager
from replication.log.write_ahead_log import WriteAheadLog
from services import node_process
from services.cli.main import main
from services.node_parts import NodeParts, open_log
from services.runtime.maintenance import Maintenance
from services.runtime.node_pools import NodePools
from services.settings.memory_settings import PoolingSettings
from services.settings.model import NodeSettings
from services.telemetry.counters import Counters

_RECYCLE_EVERY_S: Final = 0.25
_BLOCKS_KEPT: Final = 1_000  # more than are ever on their way from the log to the tables


class _PauseWatch:
    """Times the collections of this process from when the node has started: those of the start delay nobody."""

    def __init__(self) -> None:
        self.pauses: Final = GcPauses()
        self._started_ns = 0

    def observe(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._started_ns = time.perf_counter_ns()
        else:
            self.pauses.add(time.perf_counter_ns() - self._started_ns)


class _WatchedMaintenance(Maintenance):
    """The node's own maintenance, whose start is when the node has started."""

    def __init__(
        self, watch: _PauseWatch, pools: ObjectPoolManager, counters: Counters, settings: PoolingSettings
    ) -> None:
        super().__init__(pools, counters, settings)
        self._watch = watch

    def start(self) -> None:
        """Start, and watch from now on."""
        super().start()
        gc.callbacks.append(self._watch.observe)


def _open_recycled_log(settings: NodeSettings, clock: Clock, executor: Executor) -> WriteAheadLog:
    """Open the node's log, and give up its segments behind the node."""
    log = open_log(settings, clock, executor)

    def recycle() -> None:
        while True:
            time.sleep(_RECYCLE_EVERY_S)
            log.recycle_below(max(0, log.durable_index - _BLOCKS_KEPT))

    threading.Thread(target=recycle, name="recycler", daemon=True).start()
    return log


def run(report: Path, arguments: list[str], *, pooled: bool) -> None:
    """Run ``penstock`` with these arguments, and write the report when it ends."""
    if not pooled:
        os.environ["PENSTOCK_POOLING_GC_SCHEDULE"] = "python"
    watch = _PauseWatch()
    parts = NodeParts(
        pools=NodePools if pooled else partial(NodePools, idle_max=0),
        maintenance=partial(_WatchedMaintenance, watch),
        log=_open_recycled_log,
    )
    try:
        main(arguments, prog_name="penstock", obj=partial(node_process.run, parts=parts))
    finally:
        report.write_text(json.dumps(asdict(watch.pauses.read())))


if __name__ == "__main__":
    run(Path(sys.argv[2]), sys.argv[3:], pooled={"pooled": True, "unpooled": False}[sys.argv[1]])
