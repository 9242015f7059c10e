"""C++ queues in the benchmark, built from ``peers/`` where a compiler and their headers are installed."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Final

import numpy as np

from loadtest.bench.queue.contestant import (
    Cell,
    Contestant,
    Kind,
    Measurement,
    Timing,
    percentiles_less_timer,
    samples_each,
)
from loadtest.bench.queue.timed_run import RecordsLost, Throughput
from loadtest.node.child_process import command_of_child

_SOURCES: Final = Path(__file__).parent / "peers"
_COMPILER: Final = "g++"
_FLAGS: Final = ("-std=c++17", "-O3", "-march=native", "-pthread")  # as much as numba does for our side
_TIMEOUT_S: Final = 120.0


class PeersUnavailable(Exception):
    """The C++ peers cannot be built here. Install g++, libconcurrentqueue-dev and libboost-dev."""


class CppPeer:
    """A queue of the C++ program, which runs one cell at a time and prints its measurement."""

    def __init__(self, program: Path, name: str, kinds: tuple[Kind, ...], producers_max: int) -> None:
        self.name = name
        self._program = program
        self._kinds = kinds
        self._producers_max = producers_max

    def supports(self, cell: Cell) -> bool:
        """Between processes only where the queue holds no pointers."""
        return cell.kind in self._kinds and cell.producers <= self._producers_max

    def run(self, cell: Cell, timing: Timing) -> Measurement:
        """See :class:`~loadtest.bench.queue.contestant.Contestant`."""
        nanoseconds = [str(int(seconds * 1e9)) for seconds in (timing.warmup_s, timing.measured_s)]
        samples = samples_each(cell.producers) if timing.timed else 0
        command = [
            self._program,
            self.name,
            cell.kind,
            str(cell.producers),
            str(cell.batch),
            *nanoseconds,
            str(samples),
        ]
        ended = subprocess.run(
            command_of_child(*map(str, command)), capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
        if ended.returncode != 0:
            raise RecordsLost(f"{self.name}: {ended.stderr.strip() or f'ended with {ended.returncode}'}")
        first, *lines = ended.stdout.splitlines()
        figures = json.loads(first)
        measured = Throughput(figures["records"], figures["nanoseconds"])
        if not timing.timed:
            return Measurement(measured)
        return Measurement(measured, percentiles_less_timer(np.array(lines, np.uint64), figures["timer_ns"]))


def cpp_peers(directory: Path) -> list[Contestant]:
    """Build the peers in this directory.

    Raises:
        PeersUnavailable: a compiler or a header is missing.
    """
    if shutil.which(_COMPILER) is None:
        raise PeersUnavailable("there is no g++: install g++, libconcurrentqueue-dev and libboost-dev")
    program = directory / "queue_peers"
    source = _SOURCES / "queue_peers.cpp"
    built = subprocess.run(
        [_COMPILER, *_FLAGS, source, "-o", program, "-latomic"], capture_output=True, text=True, check=False
    )
    if built.returncode != 0:
        reason = next((line for line in built.stderr.splitlines() if "error" in line), built.stderr)
        raise PeersUnavailable(f"{reason.strip()}; are libconcurrentqueue-dev and libboost-dev installed?")
    return [
        CppPeer(program, "moodycamel", ("thread",), 256),
        CppPeer(program, "boost::lockfree::queue", ("thread", "process"), 256),
        CppPeer(program, "boost::lockfree::spsc_queue", ("thread", "process"), 1),
    ]
