"""Run of an attack: all phases one after the other beside the honest client, then the verdict."""

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from loadtest.attack.attacked_node import AttackedNode, attacked_node
from loadtest.attack.findings import Findings
from loadtest.attack.honest_client import HonestClient
from loadtest.attack.phases import PHASES, Phase, Siege, run_phase
from loadtest.node.node_process import NodeFailed

_SAMPLE_S: Final = 0.25
_GRACE_S: Final = 5.0
_END_S: Final = 120.0
_VOLUME_MIB: Final = 1536
_VOLUME_MIB_PER_MINUTE: Final = 100
_ROUND_S: Final = 180.0
"""Phases come round again in long runs: what one leaves behind, the next ones meet."""


@dataclass(frozen=True, slots=True)
class AttackPlan:
    """What to run, and the bounds. ``only`` names phases, all of them where it is empty."""

    seconds: float
    directory: Path
    seed: int
    latency_p99_ms_max: float
    memory_mib_max: int
    only: tuple[str, ...] = ()

    def phases(self) -> tuple[Phase, ...]:
        """The phases of a round."""
        return tuple(phase for phase in PHASES if not self.only or phase.name in self.only)


def run_attack(plan: AttackPlan, on_progress: Callable[[str], None]) -> Findings:
    """Run a plan to its end, or to the node's.

    Raises:
        NodeFailed: the node did not start in the first place.
    """
    findings = Findings(plan.latency_p99_ms_max, plan.memory_mib_max, _GRACE_S)
    volume_mib = _VOLUME_MIB + int(plan.seconds / 60 * _VOLUME_MIB_PER_MINUTE)
    with attacked_node(plan.directory, volume_mib) as node:
        asyncio.run(_attack(plan, node, findings, on_progress))
        with suppress(NodeFailed):
            node.process.stop()
        output = node.process.output.read_text(errors="replace")
        for place in range(output.count("Traceback (most recent call last)")):
            findings.harmed("traceback", output.split("Traceback (most recent call last)")[place + 1][-2000:][:2000])
    findings.conclude()
    return findings


async def _attack(plan: AttackPlan, node: AttackedNode, findings: Findings, on_progress: Callable[[str], None]) -> None:
    honest = HonestClient(node.target, findings, plan.seed)
    working = asyncio.create_task(honest.run())
    sampling = asyncio.create_task(_sample(node, findings))
    siege = Siege(node, findings, plan.directory, Random(plan.seed))
    rounds = max(1, math.ceil(plan.seconds / _ROUND_S))
    shares = sum(phase.share for phase in plan.phases())
    try:
        for number in range(rounds):
            for phase in plan.phases():
                if phase.needs_volume and not node.has_volume:
                    findings.attacks[f"left out, since it needs root: {phase.name}"] = 1
                    continue
                began = time.monotonic()
                before = sum(findings.harm.values())
                await run_phase(phase, siege, plan.seconds / rounds * phase.share / shares)
                on_progress(
                    f"round {number + 1} of {rounds}, {phase.name}: {time.monotonic() - began:.1f} s, "
                    f"{findings.honest['answers']:,} honest answers, {sum(findings.harm.values()) - before} harm"
                )
        findings.phase = "end"
    except NodeFailed:
        return  # it is among the harm
    finally:
        honest.stop()
        try:
            await asyncio.wait_for(working, _END_S)
        except TimeoutError:
            findings.harmed("late call", f"the honest client had not ended after {_END_S:g} s")
        sampling.cancel()


async def _sample(node: AttackedNode, findings: Findings) -> None:
    """Watch the node's memory, and that it runs."""
    while True:
        findings.sampled_memory(node.memory_mib())
        await asyncio.sleep(_SAMPLE_S)
