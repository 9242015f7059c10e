"""Machine: what of a node outlives its process, the disk and the clock; and how the process starts and ends."""

import contextlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final

from replication.consensus.interface.effects import Concern
from replication.consensus.interface.membership import Membership
from replication.consensus.interface.promise import Incarnation, Promise
from replication.log.ballot import NO_BALLOT
from replication.log.errors import LogBusy, LogCorrupted, LogFull, PromiseLost
from replication.service.stored_promise import promise_of, record_of
from simulation.cluster.blocks import CLUSTER_ID
from simulation.cluster.node import Node
from simulation.cluster.storage.device import Device
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
        self.stored: Promise | None = None
        """The promise that stands on the disk."""
        self.node: Node | None = None
        self.runs = 0
        self.pauses = 0
        """Faults that keep it from running; it runs where there is none."""
        self.wiped = False
        """Whether its disk was replaced, so that what is empty is not new."""
        self.damaged = False
        """Whether its log cannot be opened any more; an operator has to replace the disk."""
        self.rotten_index = 0
        """The block in which a bit flipped that nobody has found yet; 0 where there is none."""
        self.alarms: Counter[Concern] = Counter()
        self._log: SimulatedLog | None = None
        self._executor = TurnExecutor()

    def start(self) -> None:
        """Start the node where it does not run. Without room it tries again; with a damaged log it stays down."""
        if self.node is not None or self.damaged:
            return
        self.runs += 1
        self._executor = TurnExecutor()
        if self.rotten_index:
            self.disk.count_as_lost(self.rotten_index)
        try:
            log = self._log = SimulatedLog.on(self.disk, CLUSTER_ID, self.number, self.clock, self._executor, self.rng)
            if log.suspect is not None:
                self.rotten_index = 0
            self.stored = self._load(log)
            self.node = self.node_type(self, log, self.stored, self.world)
        except PowerCut:
            self.crash(Crash.LOST)
            self._start_later()
        except LogCorrupted as error:
            self.give_up(error)
        except (LogFull, LogBusy):
            self.crash(Crash.PROCESS)
            self._start_later()
        else:
            self.world.timeline.after(_WATERMARK_NS, lambda: self._raise_watermark(log))
            self.node.start()

    def store(self, promise: Promise) -> None:
        """Store a promise, durably."""
        assert self._log is not None
        assert self._log.promises is not None
        self._log.promises.store(record_of(promise))
        self.stored = promise

    def give_up(self, error: LogCorrupted) -> None:
        """Stop at a damaged block, and give it up with those behind it, and the vote before that.

        Where the log does not even open, an operator replaces the disk.
        """
        if self._log is None or error.index is None:
            self.damaged = True
            self.crash(Crash.PROCESS)
        else:
            self.disk.count_as_lost(error.index)
            how = Crash.PROCESS
            try:
                with contextlib.suppress(LogFull, LogBusy):
                    self._log.give_up_after(error.index - 1)
                    self.rotten_index = 0
                    assert self.stored is not None
                    self.stored = replace(self.stored, voting=False)
            except PowerCut:
                how = Crash.LOST
            self.crash(how)
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

    def wipe(self) -> None:
        """Replace the disk by an empty one, while the node is down."""
        assert self.node is None
        self.disk.wipe()
        self.stored = None
        self.world.ledger.wiped(self.number)
        self.wiped, self.damaged, self.rotten_index = True, False, 0

    def proven_index(self) -> int:
        """Return the last block that a later one of this log says to be durable here.

        Damage to the blocks behind it cannot be told from writes that a power cut tore.
        """
        if self.node is None or not self.node.log.durable_index:
            return 0
        log = self.node.log
        return next(log.read(log.durable_index)).durable_index

    def pause(self) -> None:
        """Stop the process where it is."""
        self.pauses += 1

    def resume(self) -> None:
        """Let it go on."""
        self.pauses = max(0, self.pauses - 1)
        if not self.pauses and self.node is not None:
            self.node.process.resume()

    def _load(self, log: SimulatedLog) -> Promise:
        """Return what the disk says was promised; a new cluster's nodes begin as voters, others have to come back."""
        assert log.promises is not None
        try:
            record = log.promises.read()
        except PromiseLost:
            log.promises.begin_anew()
            record = log.promises.read()
        if record.generation:
            if not record.voting:
                # It may have given up blocks that it acknowledged: what it said in its earlier life is void.
                record = replace(record, incarnation=record.incarnation + 1)
                log.promises.store(record)
            return promise_of(record, log.log_id)
        incarnation = Incarnation(int(self.wiped), log.log_id)
        promise = Promise(NO_BALLOT, self.membership, incarnation, voting=not self.wiped)
        log.promises.store(record_of(promise))
        return promise

    def _start_later(self) -> None:
        self.world.timeline.after(_RETRY_NS, self.start)

    def _raise_watermark(self, log: SimulatedLog) -> None:
        if self._log is log and self.node is not None:
            self.node.process.do(log.raise_watermark)
            self.world.timeline.after(_WATERMARK_NS, lambda: self._raise_watermark(log))
