"""Campaign: many schedules on all processors, and what came of them together."""

import logging
import multiprocessing
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulation.cluster.machine import Machine
from simulation.fault_kind import FaultKind
from simulation.schedule import Outcome, Schedule, run_schedule

_MEMORY = Path("/dev/shm")  # noqa: S108 - files without a disk; nothing secret
_AT_ONCE = 8


@dataclass(slots=True)
class Report:
    """The sum of schedules."""

    seed: int
    last_seed: int = 0
    schedules: int = 0
    """That count."""
    too_easy: int = 0
    """That do not."""
    steps: int = 0
    blocks: int = 0
    changes_of_leader: int = 0
    acknowledged: int = 0
    faults: Counter[FaultKind] = field(default_factory=Counter)
    failures: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count a schedule."""
        self.last_seed = outcome.seed
        if outcome.violation is not None:
            self.failures.append(outcome)
        if outcome.counts:
            self.schedules += 1
        else:
            self.too_easy += 1
        self.steps += outcome.steps
        self.blocks += outcome.blocks
        self.changes_of_leader += outcome.changes
        self.acknowledged += outcome.acknowledged
        self.faults.update(outcome.faults)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "seed": self.seed,
            "schedules": self.schedules,
            "violations": len(self.failures),
            "steps": self.steps,
            "too_easy": self.too_easy,
            "blocks": self.blocks,
            "changes_of_leader": self.changes_of_leader,
            "acknowledged": self.acknowledged,
            "faults": {kind.value: self.faults[kind] for kind in FaultKind},
            "failures": [{"seed": outcome.seed, "violation": outcome.violation} for outcome in self.failures],
        }


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a directory for the disks of simulated machines, in memory where there is a file system in memory."""
    with tempfile.TemporaryDirectory(prefix="penstock-simulation-", dir=_MEMORY if _MEMORY.is_dir() else None) as name:
        yield Path(name)


def run_seed(seed: int, machine_type: type[Machine] = Machine) -> Outcome:
    """Run the schedule of one seed."""
    with scratch() as directory:
        return run_schedule(Schedule.from_seed(seed), directory / "disks", machine_type)


def _silence() -> None:
    """Logs of simulated nodes tell of what the schedule does to them."""
    logging.disable(logging.CRITICAL)


def run_campaign(
    schedules: int, seed: int, *, processes: int = 0, tell: Callable[[Report], None] = lambda _report: None
) -> Report:
    """Run schedules with the seeds from ``seed`` on until so many count; ``tell`` hears of each."""
    report = Report(seed)
    seeds = iter(range(seed, seed + 4 * schedules))
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes or os.cpu_count() or 1, _silence) as pool:
        for outcome in pool.imap(run_seed, seeds, _AT_ONCE):
            report.add(outcome)
            tell(report)
            if report.schedules + len(report.failures) >= schedules:
                break
        pool.terminate()
    return report
