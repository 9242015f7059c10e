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
from typing import Any, Final

import services.node
import services.runtime.node_pools
from pooling.core.pool_options import PoolOptions
from pooling.gc.gc_pauses import GcPauses
from replication.log.write_ahead_log import WriteAheadLog
from services.cli.main import main
from services.runtime.maintenance import Maintenance

_RECYCLE_EVERY_S: Final = 0.25
_BLOCKS_KEPT: Final = 1_000  # more than are ever on their way from the log to the tables


class _PauseWatch:
    """Times the collections of this process from when the node has started: those of the start delay nobody."""

    def __init__(self) -> None:
        self.pauses: Final = GcPauses()
        self._started_ns = 0
        start_housekeeping = Maintenance.start

        def start(housekeeping: Maintenance) -> None:
            start_housekeeping(housekeeping)
            gc.callbacks.append(self._observe)

        vars(services.node)["Maintenance"] = type("Maintenance", (Maintenance,), {"start": start})

    def _observe(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._started_ns = time.perf_counter_ns()
        else:
            self.pauses.add(time.perf_counter_ns() - self._started_ns)


def _make_every_object_anew() -> None:
    os.environ["PENSTOCK_POOLING_GC_SCHEDULE"] = "python"
    vars(services.runtime.node_pools)["PoolOptions"] = partial(PoolOptions, idle_max=0)


def _recycle_the_log() -> None:
    def open_and_follow(*arguments: Any, **options: Any) -> WriteAheadLog:
        log = WriteAheadLog.open(*arguments, **options)
        threading.Thread(target=follow, args=(log,), name="recycler", daemon=True).start()
        return log

    def follow(log: WriteAheadLog) -> None:
        while True:
            time.sleep(_RECYCLE_EVERY_S)
            log.recycle_below(max(0, log.durable_index - _BLOCKS_KEPT))

    class FollowedLog:
        open = staticmethod(open_and_follow)

    vars(services.node)["WriteAheadLog"] = FollowedLog


def run(report: Path, arguments: list[str], *, pooled: bool) -> None:
    """Run ``penstock`` with these arguments, and write the report when it ends."""
    if not pooled:
        _make_every_object_anew()
    _recycle_the_log()
    watch = _PauseWatch()
    try:
        main(arguments, prog_name="penstock")
    finally:
        report.write_text(json.dumps(asdict(watch.pauses.read())))


if __name__ == "__main__":
    run(Path(sys.argv[2]), sys.argv[3:], pooled={"pooled": True, "unpooled": False}[sys.argv[1]])
