"""Schedule: one cluster's life from a seed, with its faults, and what came of it."""

import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final, NamedTuple, Self

from simulation.cluster.cluster import Cluster
from simulation.cluster.machine import Machine
from simulation.fault_kind import FaultKind
from simulation.faults.injection import inject
from simulation.faults.plan import Fault, plan_faults
from simulation.promises.violation import Rule, Violation
from simulation.world.timeline import SECOND

BLOCKS: Final = 200
"""Blocks that have to be committed before a schedule ends."""
_FAULTS_MIN: Final = 5
_WORKING_NS: Final = 60 * SECOND
"""Within this time a cluster under faults must have come so far."""


class Schedule(NamedTuple):
    """Everything that decides what happens."""

    seed: int
    nodes: int
    faults: tuple[Fault, ...]

    @classmethod
    def from_seed(cls, seed: int) -> Self:
        """Choose size and faults: three nodes, and now and then five."""
        rng = Random(seed)
        nodes = 5 if rng.random() < 0.15 else 3
        return cls(seed, nodes, plan_faults(rng, nodes))


@dataclass(slots=True)
class Outcome:
    """What came of a schedule."""

    seed: int
    nodes: int
    steps: int = 0
    blocks: int = 0
    """Committed."""
    changes: int = 0
    """Of the leader."""
    acknowledged: int = 0
    """Transactions."""
    faults: Counter[FaultKind] = field(default_factory=Counter)
    """That occurred, by kind; of those that spoil a link, the messages spoilt."""
    injected: int = 0
    """Faults done to the cluster."""
    violation: str | None = None
    rule: Rule | None = None

    @property
    def counts(self) -> bool:
        """Whether it was hard enough to say anything."""
        return self.nodes >= 3 and self.blocks >= BLOCKS and self.injected >= _FAULTS_MIN and self.changes >= 1


def run_schedule(schedule: Schedule, directory: Path, machine_type: type[Machine] = Machine) -> Outcome:
    """Run a schedule below an empty ``directory``, which is removed afterwards."""
    cluster = Cluster(directory, schedule.seed, schedule.nodes, machine_type=machine_type)
    outcome = Outcome(schedule.seed, schedule.nodes)
    try:
        _run(cluster, schedule, outcome)
    except Violation as violation:
        outcome.violation, outcome.rule = str(violation), violation.rule
    except AssertionError as error:
        outcome.violation, outcome.rule = _describe(error), Rule.NO_ASSERTION
    finally:
        cluster.close()
        shutil.rmtree(directory, ignore_errors=True)
    outcome.steps = cluster.timeline.steps
    outcome.blocks = cluster.ledger.commit_index
    outcome.changes = max(0, cluster.ledger.ballots_led - 1)
    outcome.acknowledged = cluster.receipts.count
    outcome.faults = cluster.occurred
    return outcome


def _run(cluster: Cluster, schedule: Schedule, outcome: Outcome) -> None:
    def happen(fault: Fault) -> None:
        outcome.injected += 1
        inject(cluster, fault)

    end_ns = 0
    for fault in schedule.faults:
        end_ns = max(end_ns, fault.at_ns + fault.duration_ns)
        cluster.timeline.after(fault.at_ns, lambda fault=fault: happen(fault))  # type: ignore[misc]
    cluster.start()
    if not cluster.run_until(
        lambda: cluster.ledger.commit_index >= BLOCKS and cluster.timeline.now_ns >= end_ns, _WORKING_NS
    ):
        raise Violation(
            Rule.PROGRESS, f"after {_WORKING_NS // SECOND} s no more than {cluster.ledger.commit_index} blocks"
        )
    cluster.settle()
    cluster.check_outcome()


def _describe(error: AssertionError) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"
    return f"{Rule.NO_ASSERTION.value}: {error} at {place}"
