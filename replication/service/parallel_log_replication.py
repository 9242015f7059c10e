"""Parallel log replication: a log on several nodes, sent to all at once, committed at a quorum.

One thread runs the protocol's core (`replication.consensus`): whatever happens is an event in its inbox, whatever is to
be done an effect that it hands on. Others make the log's changes (`log_worker`), store promises, read blocks for nodes
that lag, and ask the coordinator, each in order. So the core is as sequential as in a test, and no disk, network or
coordinator holds it up.

The way of a leader's block: sealed above, it comes by `replicate_log_entry_parallel`, and is written to the own disk
while it travels to all others at once. Once a quorum has it durable, it is committed, and goes to
`ReplicatedMachine.committed`. A follower's comes by `received`, and goes the same way.
"""

import heapq
import random
import secrets
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol

from penstock.host.clock import SYSTEM_CLOCK, Clock
from penstock.host.executor import THREADS, Executor, Running
from pooling.buffers import aligned_buffer
from replication.consensus.core import Core
from replication.consensus.interface import effects, events
from replication.consensus.interface.config import ConsensusConfig
from replication.consensus.interface.events import Event, Timer
from replication.consensus.interface.header import Header
from replication.consensus.interface.messages import Ack, Append, Fetched, Message, Presence
from replication.consensus.interface.promise import Promise
from replication.consensus.outline import Outline
from replication.coordinator import Coordinator
from replication.coordinator.errors import CoordinatorError
from replication.log.block import NO_HASH, Block, BlockKind, stored_bytes
from replication.log.errors import LogError
from replication.log.write_ahead_log import WriteAheadLog
from replication.service.block_store import BlockStore, Damaged, header_of, take_in
from replication.service.log_worker import Cut, LogWorker, Write
from replication.service.metrics import CommitLatency, ReplicaMetrics, ReplicationMetrics
from replication.service.replicated_machine import ReplicatedMachine
from replication.transport.transport import Transport

DEFAULTS: Final = ConsensusConfig()
_IDLE_S: Final = 60.0


class PromiseStore(Protocol):
    """Keeps a node's promise."""

    def store(self, promise: Promise) -> None:
        """Store it whole, synced on return.

        Raises:
            LogError: it may not be stored.
        """


class ParallelLogReplicationService:
    """One node's part of a replicated log. `start`, then `stop`; any thread may call the rest.

    Args:
        node: this node's number.
        log: its log, open, which nobody else changes.
        promise: what was stored last.
        promises: where the next ones are stored.
        transport: reaches the other nodes, and gives what they say to `received`.
        coordinator: gives out epochs.
        machine: what stands above.
        block_time: the time of a block, in nanoseconds, given that of the one before it.
        config: times and bounds.
        clock: tells the time, and what is waited by.
        executor: runs the threads.
        rng: draws the timers' jitter.
    """

    def __init__(
        self,
        node: int,
        log: WriteAheadLog,
        promise: Promise,
        promises: PromiseStore,
        transport: Transport,
        coordinator: Coordinator,
        machine: ReplicatedMachine,
        *,
        block_time: Callable[[int], int],
        config: ConsensusConfig = DEFAULTS,
        clock: Clock = SYSTEM_CLOCK,
        executor: Executor = THREADS,
        rng: random.Random | None = None,
    ) -> None:
        self._log, self._transport, self._coordinator, self._machine = log, transport, coordinator, machine
        self._block_time, self._config, self._clock, self._executor = block_time, config, clock, executor
        self._rng = rng or random.SystemRandom()
        self._store = BlockStore()
        self._inbox: SimpleQueue[Event | Callable[[], None] | None] = SimpleQueue()
        self._timers: dict[Timer, int] = {}
        self._alarms: list[tuple[int, Timer]] = []
        self._applied_index = 0
        self._cut = 0
        self._reads: dict[int, Future[int]] = {}
        self._hand_overs: dict[int, Future[bool]] = {}
        self._latency = CommitLatency()
        self._blocks = self._entries = self._leaderships = 0
        headers: list[Header] = []
        log.replay(lambda block: self._recover(block, promise.commit_index, headers))
        self.core: Final = Core(node, promise, Outline(headers), config)
        self._worker = LogWorker(log, self._tell, machine.failed, clock)
        self._promises = _Doer("promises", self._storage_failed)
        self._reader = _Doer("catch-up", self._storage_failed)
        self._epochs = _Doer("epochs", self._storage_failed)
        self._store_promise = promises.store
        self._running: list[Running] = []

    def start(self) -> None:
        """Take part."""
        self._worker.start(self._executor)
        for doer in (self._promises, self._reader, self._epochs):
            self._running.append(self._executor.start(doer.name, doer.work))
        self._running.append(self._executor.start("replication", self._run))
        self._running.append(self._executor.start("epochs-watch", self._watch_epochs))
        self._tell(events.Started(self._clock.monotonic_ns()))

    def stop(self) -> None:
        """Take no part any more. The coordinator is closed, the log is not; what it was asked to write is written."""
        self._inbox.put(None)
        self._coordinator.close()
        self._worker.stop()
        for doer in (self._promises, self._reader, self._epochs):
            doer.stop()
        for running in self._running:
            running.join()
        for read in self._reads.values():
            read.cancel()
        for hand_over in self._hand_overs.values():
            hand_over.cancel()

    def replicate_log_entry_parallel(self, blocks: Sequence[Block]) -> None:
        """Send sealed blocks to all nodes at once, and write them here meanwhile; they follow the last one proposed.

        Dropped where this node does not lead any more. Their buffers may not be changed until they are committed.
        """
        now_ns = self._clock.monotonic_ns()

        def propose() -> None:
            for block in blocks:
                self._store.offer(block)
                self._latency.proposed(block.index, now_ns)
            self._handle(events.Proposed(tuple(header_of(block) for block in blocks), now_ns))

        self._inbox.put(propose)

    def received(self, sender: int, message: Message, blocks: Sequence[memoryview]) -> None:
        """Take a message from another node; see `replication.transport.transport.OnReceived`."""
        self._inbox.put(lambda: self._receive(sender, message, blocks))

    def handle_replication_ack(self, sender: int, ack: Ack) -> None:
        """Count what another node has made durable. `received` does so with every acknowledgement that comes."""
        self._tell(events.Received(sender, ack, self._clock.monotonic_ns()))

    def optimize_replication_paths(self) -> dict[int, tuple[int, ...]]:
        """Choose over which nodes blocks go to each other node: here the star, from the leader to each directly."""
        return dict.fromkeys(sorted(self._transport.traffic()), ())

    def confirm_read(self) -> "Future[int]":
        """Ask whether this node leads still; gives the index that a read must reflect to see all that is committed.

        The future is cancelled where this node does not lead.
        """
        future: Future[int] = Future()

        def ask() -> None:
            number = secrets.randbits(63)
            self._reads[number] = future
            self._handle(events.ReadRequested(number, self._clock.monotonic_ns()))

        self._inbox.put(ask)
        return future

    def hand_over(self, to: int) -> "Future[bool]":
        """Let another node lead; gives whether it does."""
        future: Future[bool] = Future()

        def ask() -> None:
            if to in self._hand_overs:
                future.set_result(False)
                return
            self._hand_overs[to] = future
            self._handle(events.HandOverRequested(to, self._clock.monotonic_ns()))

        self._inbox.put(ask)
        return future

    def get_replication_metrics(self) -> ReplicationMetrics:
        """How this node's part goes."""
        core, leader = self.core, self.core.leader
        now_ns = self._clock.monotonic_ns()
        last_index = core.state.outline.tip.index
        traffic = self._transport.traffic()
        replicas = []
        for node, peer in sorted(leader.peers.items()) if leader is not None else ():
            sent = traffic.get(node)
            active = sent is not None and sent.connected and now_ns - peer.heard_ns < self._config.suspicion_ns
            replicas.append(
                ReplicaMetrics(
                    node,
                    active,
                    peer.counts,
                    peer.durable_index,
                    last_index - peer.durable_index,
                    sent.bytes if sent is not None else 0,
                    sent.dropped if sent is not None else 0,
                )
            )
        p50_ms, p99_ms = self._latency.percentiles_ms()
        return ReplicationMetrics(
            core.node,
            core.leader_ballot,
            leader is not None,
            last_index,
            core.state.outline.durable_index,
            core.commit_index,
            self._blocks,
            self._entries,
            self._leaderships,
            p50_ms,
            p99_ms,
            1 + sum(replica.active for replica in replicas),
            tuple(replicas),
        )

    # The protocol's thread

    def _run(self) -> None:
        while True:
            timeout_s = _IDLE_S
            if self._alarms:
                timeout_s = max(0.0, (self._alarms[0][0] - self._clock.monotonic_ns()) / 1e9)
            try:
                item = self._inbox.get(timeout=timeout_s)
            except Empty:
                self._fire_timers()
                continue
            if item is None:
                return
            if callable(item):
                item()
            else:
                self._handle(item)
            self._fire_timers()

    def _tell(self, event: Event) -> None:
        self._inbox.put(event)

    def _handle(self, event: Event) -> None:
        for effect in self.core.handle(event):
            _PERFORM[type(effect)](self, effect)

    def _fire_timers(self) -> None:
        now_ns = self._clock.monotonic_ns()
        while self._alarms and self._alarms[0][0] <= now_ns:
            at_ns, timer = heapq.heappop(self._alarms)
            if self._timers.get(timer) == at_ns:  # else it was set anew
                del self._timers[timer]
                self._handle(events.TimerFired(timer, now_ns))

    def _recover(self, block: Block, commit_index: int, headers: list[Header]) -> None:
        headers.append(header_of(block))
        if block.index <= commit_index:
            self._apply(block)

    def _receive(self, sender: int, message: Message, encoded: Sequence[memoryview]) -> None:
        if isinstance(message, Append | Fetched):
            try:
                blocks = [take_in(each, self._log.cluster_id) for each in encoded]
            except Damaged:
                return  # it was damaged on its way: as good as lost
            for block in blocks:
                self._store.offer(block)
            message = message._replace(headers=tuple(header_of(block) for block in blocks))
        self._handle(events.Received(sender, message, self._clock.monotonic_ns()))

    def _apply(self, block: Block) -> None:
        assert block.index == self._applied_index + 1, "blocks are applied in order, each once"
        self._applied_index = block.index
        self._machine.committed(block)

    def _storage_failed(self, error: Exception) -> None:
        self._tell(events.StorageFailed(self._clock.monotonic_ns()))
        self._machine.failed(error)

    # Effects

    def _send(self, effect: effects.Send) -> None:
        message = effect.message
        bodies: list[memoryview] = []
        if isinstance(message, Append | Fetched):
            for header in message.headers:
                block = self._store.find(header.index, header.hash) or self._read_one(header)
                if block is None:
                    return  # it was released since, and cannot be read: the other node asks again
                bodies.append(block.buffer[: block.stored_bytes].data)
        self._transport.send(effect.to, message, bodies)

    def _read_one(self, header: Header) -> Block | None:
        """A block that went from memory since its header was asked for."""
        try:
            block = next(self._log.read(header.index), None)
        except LogError:
            return None
        return block if block is not None and block.hash == header.hash else None

    def _write_blocks(self, effect: effects.WriteBlocks) -> None:
        self._worker.submit(Write(effect.cut, self._store.take(effect.headers)))

    def _truncate(self, effect: effects.Truncate) -> None:
        self._cut = effect.cut
        self._store.cut(effect.after_index)
        self._worker.submit(Cut(effect.cut, effect.after_index))

    def _store_promise_effect(self, effect: effects.StorePromise) -> None:
        def store() -> None:
            self._store_promise(effect.promise)
            self._tell(events.PromiseStored(effect.number, self._clock.monotonic_ns()))

        self._promises.do(store)

    def _read_blocks(self, effect: effects.ReadBlocks) -> None:
        cut = self._cut

        def read() -> None:
            if self._worker.wait_for_cut(cut):  # else the log still holds what the protocol has given up
                blocks, presence = self._read(effect.first, effect.last, effect.bytes_max)
                self._inbox.put(lambda: self._were_read(effect.request, blocks, presence))

        self._reader.do(read)

    def _read(self, first: int, last: int, bytes_max: int) -> tuple[list[Block], Presence]:
        blocks: list[Block] = []
        taken = 0
        for index in range(first, last + 1):
            try:
                block = self._store.of_log(index) or next(self._log.read(index), None)
            except LogError:  # damaged, recycled, or cut meanwhile
                return blocks, Presence.UNKNOWN
            if block is None:
                return blocks, Presence.NEVER_HAD
            taken += block.stored_bytes
            if blocks and taken > bytes_max:
                break
            blocks.append(block)
        return blocks, Presence.HAVE

    def _were_read(self, request: int, blocks: Iterable[Block], presence: Presence) -> None:
        blocks = list(blocks)
        for block in blocks:
            self._store.offer(block)
        headers = tuple(header_of(block) for block in blocks)
        self._handle(events.BlocksRead(request, headers, presence, self._clock.monotonic_ns()))

    def _set_timer(self, effect: effects.SetTimer) -> None:
        at_ns = self._clock.monotonic_ns() + effect.after_ns + self._rng.randint(0, effect.jitter_ns)
        self._timers[effect.timer] = at_ns
        heapq.heappush(self._alarms, (at_ns, effect.timer))

    def _cas_epoch(self, effect: effects.CasEpoch) -> None:
        token = secrets.token_bytes(16)

        def ask() -> None:
            try:
                record = self._coordinator.cas_epoch(effect.expected, effect.new, self.core.node, token).record
            except CoordinatorError:
                return  # the protocol asks again
            self._decided(record.epoch, record.candidate)

        self._epochs.do(ask)

    def _decided(self, epoch: int, candidate: int) -> None:
        self._tell(events.EpochDecided(epoch, candidate, self._clock.monotonic_ns()))

    def _watch_epochs(self) -> None:
        for record in self._coordinator.watch():
            if record.candidate != self.core.node:  # an own attempt has its answer, and an earlier run's has none
                self._decided(record.epoch, record.candidate)

    def _begin_epoch(self, effect: effects.BeginEpoch) -> None:
        tip = effect.tip
        self._leaderships += 1
        buffer = aligned_buffer(stored_bytes(0, 0))
        block = Block.seal(
            buffer,
            cluster_id=self._log.cluster_id,
            ballot=effect.ballot,
            index=tip.index + 1,
            first_position=tip.next_position,
            count=0,
            payload_bytes=0,
            time_ns=self._block_time(tip.time_ns),
            previous_hash=tip.hash or NO_HASH,
            durable_index=0,
            generation=effect.generation,
            kind=BlockKind.EPOCH,
        )
        self._store.offer(block)
        self._handle(events.Proposed((header_of(block),), self._clock.monotonic_ns()))

    def _open_intake(self, effect: effects.OpenIntake) -> None:
        self._machine.open_intake(effect.ballot, self.core.state.outline.tip)

    def _close_intake(self, effect: effects.CloseIntake) -> None:
        self._machine.close_intake(effect.to)

    def _stepped_down(self, effect: effects.SteppedDown) -> None:
        self._latency.stepped_down()
        self._machine.stepped_down(effect.commit_index)

    def _committed(self, effect: effects.Committed) -> None:
        now_ns = self._clock.monotonic_ns()
        for index in range(self._applied_index + 1, effect.commit_index + 1):
            block = self._store.of_log(index) or next(self._log.read(index))
            self._apply(block)
            self._blocks += 1
            self._entries += block.count
            self._latency.committed(index, now_ns)
        self._store.release(min(self._applied_index, self._log.last_index))

    def _leader_changed(self, effect: effects.LeaderChanged) -> None:
        self._machine.leader_changed(effect.ballot)

    def _confirm_read(self, effect: effects.ConfirmRead) -> None:
        self._reads.pop(effect.read).set_result(effect.commit_index)

    def _refuse_read(self, effect: effects.RefuseRead) -> None:
        self._reads.pop(effect.read).cancel()

    def _hand_over_ended(self, effect: effects.HandOverEnded) -> None:
        future = self._hand_overs.pop(effect.to, None)
        if future is not None:
            future.set_result(effect.done)

    def _alarm(self, effect: effects.Alarm) -> None:
        self._machine.alarm(effect)


class _Doer:
    """A thread that does one thing after the other."""

    def __init__(self, name: str, on_failure: Callable[[Exception], None]) -> None:
        self.name = name
        self._on_failure = on_failure
        self._things: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def do(self, thing: Callable[[], None]) -> None:
        self._things.put(thing)

    def stop(self) -> None:
        self._things.put(None)

    def work(self) -> None:
        try:
            while (thing := self._things.get()) is not None:
                thing()
        except Exception as error:
            self._on_failure(error)


_PERFORM: Final[dict[type, Callable[[ParallelLogReplicationService, Any], None]]] = {
    effects.Send: ParallelLogReplicationService._send,
    effects.WriteBlocks: ParallelLogReplicationService._write_blocks,
    effects.Truncate: ParallelLogReplicationService._truncate,
    effects.StorePromise: ParallelLogReplicationService._store_promise_effect,
    effects.ReadBlocks: ParallelLogReplicationService._read_blocks,
    effects.SetTimer: ParallelLogReplicationService._set_timer,
    effects.CasEpoch: ParallelLogReplicationService._cas_epoch,
    effects.BeginEpoch: ParallelLogReplicationService._begin_epoch,
    effects.OpenIntake: ParallelLogReplicationService._open_intake,
    effects.CloseIntake: ParallelLogReplicationService._close_intake,
    effects.SteppedDown: ParallelLogReplicationService._stepped_down,
    effects.Committed: ParallelLogReplicationService._committed,
    effects.LeaderChanged: ParallelLogReplicationService._leader_changed,
    effects.ConfirmRead: ParallelLogReplicationService._confirm_read,
    effects.RefuseRead: ParallelLogReplicationService._refuse_read,
    effects.HandOverEnded: ParallelLogReplicationService._hand_over_ended,
    effects.Alarm: ParallelLogReplicationService._alarm,
}
