"""Machine: what of a node outlives its process: disk, clock, stored promise; and how the process starts and ends."""

from collections import Counter
from pathlib import Path
from random import Random
from typing import Final

from replication.consensus.interface.effects import Concern
from replication.consensus.interface.membership import Membership
from replication.consensus.interface.promise import Incarnation, Promise
from replication.log.ballot import NO_BALLOT
from replication.log.errors import LogBusy, LogCorrupted, LogFull
from simulation.cluster.blocks import CLUSTER_ID
from simulation.cluster.device import Device
from simulation.cluster.node import Node
from simulation.cluster.promise_store import PromiseStore
from simulation.cluster.surroundings import Surroundings
from simulation.world.clock import NodeClock
from simulation.world.crash import Crash
from simulation.world.disk import PowerCut, VirtualDisk
from simulation.world.executor import TurnExecutor
from simulation.world.simulated_log import SimulatedLog
from simulation.world.timeline import MS

_RETRY_NS: Final = 100 * MS
_WATERMARK_NS: Final = 150 * MS


class Machine:
    """One machine, on which one node runs at a time."""

    node_type: type[Node] = Node
    """Broken variants put another one here."""

    def __init__(self, number: int, directory: Path, membership: Membership, world: Surroundings, seed: int) -> None:
        self.number, self.world, self.membership = number, world, membership
        self.rng = Random(seed)
        self.disk = VirtualDisk(directory)
        self.device = Device(world.timeline, self.rng)
        self.clock = NodeClock(world.timeline, self.rng.uniform(0.95, 1.05))
        self.promises = PromiseStore()
        self.node: Node | None = None
        self.runs = 0
        self.pauses = 0
        """Faults that keep it from running; it runs where there is none."""
        self.wiped = False
        """Whether its disk was replaced, so that what is empty is not new."""
        self.damaged = False
        """Whether its log cannot be opened any more; an operator has to replace the disk."""
        self.rotten = False
        """Whether a block on its disk was damaged, and nobody replaced that yet."""
        self.alarms: Counter[Concern] = Counter()
        self._log: SimulatedLog | None = None
        self._executor = TurnExecutor()

    def start(self) -> None:
        """Start the node where it does not run. Without room it tries again; with a damaged log it stays down."""
        if self.node is not None or self.damaged:
            return
        self.runs += 1
        self._executor = TurnExecutor()
        try:
            log = self._log = SimulatedLog.on(self.disk, CLUSTER_ID, self.clock, self._executor, self.rng)
            self.node = self.node_type(self, log, self._stored(), self.world)
        except PowerCut:
            self.crash(Crash.LOST)
            self._start_later()
        except LogCorrupted:
            self.give_up()
        except (LogFull, LogBusy):
            self.crash(Crash.PROCESS)
            self._start_later()
        else:
            self.world.timeline.after(_WATERMARK_NS, lambda: self._raise_watermark(log))
            self.node.start()

    def give_up(self) -> None:
        """Stop, since the log is damaged: an operator replaces the disk."""
        self.damaged = True
        self.crash(Crash.PROCESS)
        self.world.node_gave_up(self.number)

    def crash(self, how: Crash) -> None:
        """Let the process die, and the power fail where that is how."""
        self._executor.dead = True
        if self.node is not None:
            self.node.die()
            self.node = None
        if self._log is not None:
            self._log.die()
            self._log = None
        self.disk.crash(how, self.rng)
        if how is not Crash.PROCESS:
            self.promises.crash(self.rng)

    def wipe(self) -> None:
        """Replace the disk by an empty one, while the node is down."""
        assert self.node is None
        self.disk.wipe()
        self.promises.wipe()
        self.world.ledger.wiped(self.number)
        self.wiped, self.damaged, self.rotten = True, False, False

    def pause(self) -> None:
        """Stop the process where it is."""
        self.pauses += 1

    def resume(self) -> None:
        """Let it go on."""
        self.pauses = max(0, self.pauses - 1)
        if not self.pauses and self.node is not None:
            self.node.process.resume()

    def _stored(self) -> Promise:
        if self.promises.stored is None:
            log_id = self.rng.getrandbits(64)
            first = Promise(NO_BALLOT, self.membership, Incarnation(int(self.wiped), log_id), voting=not self.wiped)
            self.promises.write(first)
            self.promises.sync()
            return first
        return self.promises.stored

    def _start_later(self) -> None:
        self.world.timeline.after(_RETRY_NS, self.start)

    def _raise_watermark(self, log: SimulatedLog) -> None:
        if self._log is log and self.node is not None:
            self.node.process.do(log.raise_watermark)
            self.world.timeline.after(_WATERMARK_NS, lambda: self._raise_watermark(log))
