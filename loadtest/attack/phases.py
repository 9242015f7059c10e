"""Phases of an attack: what is done to the node in each, and for what share of the time."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from loadtest.attack.attacked_node import AttackedNode
from loadtest.attack.findings import Findings
from loadtest.attack.floods import (
    bursts,
    half_sent_messages,
    idle_connections,
    invented_clients,
    open_streams,
    session_ends,
)
from loadtest.attack.forks import forks
from loadtest.attack.fuzz import fuzz_messages, fuzz_socket
from loadtest.attack.hostile_process import Attack, HostileProcess
from loadtest.attack.log_damage import copy_of, is_found_whole, one_bit_changed
from loadtest.attack.slow_readers import unread_reads, unread_watches
from loadtest.node.node_process import NodeFailed

_TERMINATED_S_MAX: Final = 60.0
_OUTAGE_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Siege:
    """All that a phase works with."""

    node: AttackedNode
    findings: Findings
    directory: Path
    random: Random

    async def restart(self) -> None:
        """Start the node again, beside the honest client: the process would end with another thread that made it."""
        self.node.process.spawn()
        try:
            seconds = await asyncio.to_thread(self.node.process.wait_until_serving)
        except NodeFailed as error:
            self.findings.harmed("node ended", f"it did not start again: {error}")
            raise
        self.findings.attacks["restarts"] += 1
        self.findings.attacks["milliseconds of restarts"] += int(seconds * 1000)


Deed = Callable[[Siege, float], Awaitable[None]]
"""Does something to the node until a time on the monotonic clock."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Hostile processes and a deed at the same time, for ``share`` parts of the whole time."""

    name: str
    share: int
    attacks: tuple[Attack, ...] = ()
    deed: Deed | None = None
    needs_volume: bool = False


async def run_phase(phase: Phase, siege: Siege, seconds: float) -> None:
    """Run one phase."""
    findings = siege.findings
    findings.phase = phase.name
    end = time.monotonic() + seconds
    hostile = [HostileProcess(attack, siege.node.target, siege.random.getrandbits(62), end) for attack in phase.attacks]
    try:
        if phase.deed is not None:
            await phase.deed(siege, end)
        await asyncio.sleep(max(0.0, end - time.monotonic()))
    finally:
        for process in hostile:
            counts: Counter[str] = await asyncio.to_thread(process.stop)
            findings.attacks.update(counts)


async def _kills(siege: Siege, end: float) -> None:
    while time.monotonic() < end:
        await asyncio.sleep(siege.random.uniform(0.1, 1.0))
        with siege.findings.outage():
            siege.node.process.kill()
            siege.findings.attacks["SIGKILL"] += 1
            await siege.restart()


async def _terminations(siege: Siege, end: float) -> None:
    while time.monotonic() < end:
        await asyncio.sleep(siege.random.uniform(0.1, 1.0))
        with siege.findings.outage():
            siege.findings.attacks["SIGTERM"] += 1
            try:
                await asyncio.to_thread(siege.node.process.stop)
            except NodeFailed as error:
                siege.findings.harmed("node ended", str(error))
            await siege.restart()


async def _full_disk(siege: Siege, end: float) -> None:
    with siege.findings.outage():
        await asyncio.to_thread(siege.node.fill)
        siege.findings.attacks["full disks"] += 1
        await asyncio.sleep(max(0.0, end - time.monotonic()) * _OUTAGE_SHARE)
        await asyncio.to_thread(siege.node.free)


async def _frozen_disk(siege: Siege, end: float) -> None:
    with siege.findings.outage(), siege.node.frozen():
        siege.findings.attacks["frozen disks"] += 1
        await asyncio.sleep(max(0.0, end - time.monotonic()) * _OUTAGE_SHARE)


async def _damage(siege: Siege, end: float) -> None:
    with copy_of(siege.node.process.log_directory, siege.directory) as copy:
        if not await asyncio.to_thread(is_found_whole, copy):
            siege.findings.harmed("log differs", "a copy of the log of a healthy node is not found whole")
            return
        while time.monotonic() < end:
            with one_bit_changed(copy, siege.random) as where:
                siege.findings.attacks["damaged copies of the log"] += 1
                if await asyncio.to_thread(is_found_whole, copy):
                    siege.findings.harmed("damage not found", where)


PHASES: Final = (
    Phase("calm", 1),
    Phase("fuzzed messages", 2, (fuzz_messages, fuzz_messages)),
    Phase("garbage on the socket", 1, (fuzz_socket,)),
    Phase("unread watches", 1, (unread_watches,)),
    Phase("unread reads", 1, (unread_reads,)),
    Phase("idle connections", 1, (idle_connections,)),
    Phase("open streams", 1, (open_streams,)),
    Phase("bursts of calls", 1, (bursts,)),
    Phase("half-sent messages", 1, (half_sent_messages,)),
    Phase("invented clients", 1, (invented_clients, session_ends)),
    Phase("forks", 1, (forks,)),
    Phase("kills", 2, (), _kills),
    Phase("terminations", 2, (unread_watches,), _terminations),
    Phase("full disk", 1, (), _full_disk, needs_volume=True),
    Phase("frozen disk", 1, (), _frozen_disk, needs_volume=True),
    Phase("damage at rest", 1, (), _damage),
    Phase("all at once", 2, (fuzz_messages, fuzz_socket, unread_watches, bursts, forks), _kills),
)
