"""Node: one run of a simulated node, which gives the protocol's core all that it asks for.

Events go into an inbox, so that what an effect brings about is handled after the effects before it.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from replication.consensus.core import Core
from replication.consensus.interface import effects as fx
from replication.consensus.interface import events as ev
from replication.consensus.interface.header import Header
from replication.consensus.interface.messages import Append, Fetched, Message, Presence
from replication.consensus.interface.promise import Promise
from replication.consensus.outline import Outline
from replication.log.ballot import NO_BALLOT
from replication.log.block import Block
from replication.service.block_store import header_of
from simulation.cluster.applier import Applier
from simulation.cluster.front import Front
from simulation.cluster.process import Process
from simulation.cluster.sequencer import Sequencer
from simulation.cluster.storage.bodies import Bodies
from simulation.cluster.storage.log_thread import LogThread
from simulation.cluster.storage.promise_thread import PromiseThread
from simulation.cluster.surroundings import Surroundings
from simulation.cluster.wire import Envelope, ReadRequest, Submission
from simulation.world.simulated_log import SimulatedLog

if TYPE_CHECKING:
    from simulation.cluster.machine import Machine


class Node:
    """The process that runs on a machine. It is made from what the machine's disk holds."""

    core_type: type[Core] = Core
    """Broken variants put another one here."""
    log_thread_type: type[LogThread] = LogThread

    def __init__(self, machine: "Machine", log: SimulatedLog, stored: Promise, world: Surroundings) -> None:
        """Rebuild outline and state from the log.

        Raises:
            LogCorrupted: a block is damaged.
        """
        self.machine, self.world, self.log = machine, world, log
        self.number, self.run = machine.number, machine.runs
        self.process = Process(
            lambda: machine.pauses > 0,
            lambda: world.power_cut(self.number),
            self._fail,
            machine.give_up,
            world.rng,
        )
        self.applier = Applier(world.rng)
        self.bodies = Bodies(log)
        self.hashes: list[bytes] = [b""]
        """Of the log's blocks, by index."""
        self.sequencer = Sequencer(log, machine.clock, self._propose)
        self.front = Front(
            self.run,
            self.process,
            self.sequencer,
            self.applier,
            world.timeline,
            self.tell,
            self._send_to_client,
            self.now_ns,
        )
        self._log_thread = self.log_thread_type(
            log, machine.device, world.timeline, self._body, self.tell, self.process.do, self.now_ns
        )
        self._promise_thread = PromiseThread(
            machine.device,
            machine.store,
            lambda number: self.tell(ev.PromiseStored(number, self.now_ns())),
            self.process.do,
        )
        self._inbox: deque[ev.Event] = deque()
        self._handling = False
        self._timers: dict[ev.Timer, int] = {}
        self.core = self.core_type(self.number, stored, self._recover(log.commit_index), world.config)

    def start(self) -> None:
        """Begin."""
        self.process.do(lambda: self.tell(ev.Started(self.now_ns())))

    def die(self) -> None:
        """Stop at once; nothing is told to anybody."""
        self.process.alive = False
        self.applier.close()

    def now_ns(self) -> int:
        """The node's monotonic time."""
        return self.machine.clock.monotonic_ns()

    def tell(self, event: ev.Event) -> None:
        """Let the core handle an event, after those before it, and do what it asks."""
        self._inbox.append(event)
        if self._handling:
            return
        self._handling = True
        try:
            while self._inbox:
                for effect in self.core.handle(self._inbox.popleft()):
                    _PERFORM[type(effect)](self, effect)
        finally:
            self._handling = False

    def receive(self, sender: int, message: object) -> None:
        """Handle what came over the network."""
        if isinstance(message, Envelope):
            for block in message.blocks:
                self.bodies.add(block)
            self.tell(ev.Received(sender, message.message, self.now_ns()))
        elif isinstance(message, Submission):
            self.front.submit(sender, message)
        elif isinstance(message, ReadRequest):
            self.front.ask(sender, message)

    def _recover(self, commit_index: int) -> Outline:
        headers: list[Header] = []

        def on_block(block: Block) -> None:
            headers.append(header_of(block))
            self.hashes.append(block.hash)
            if block.index <= commit_index:
                self._apply(block)

        self.log.replay(on_block)
        return Outline(headers)

    def _fail(self) -> None:
        self.tell(ev.StorageFailed(self.now_ns()))

    def _body(self, index: int, block_hash: bytes) -> Block:
        block = self.bodies.read(index, block_hash)
        assert block is not None, f"node {self.number} has no body of block {index}"
        return block

    def _propose(self, block: Block) -> None:
        self.bodies.add(block)
        self.tell(ev.Proposed((header_of(block),), self.now_ns()))

    def _apply(self, block: Block) -> list[int]:
        results = self.applier.apply(block)
        self.world.ledger.applies(self.number, block.index, block.hash, self.applier.effects_digest)
        return results

    def _send_to_client(self, client: int, answer: object) -> None:
        self.world.network.send(self.number, client, answer)

    # What the core asks for.

    def _send(self, effect: fx.Send) -> None:
        message: Message | None = effect.message
        blocks: tuple[Block, ...] = ()
        if isinstance(message, Append | Fetched):
            message, blocks = self._with_bodies(message)
        if message is not None:
            self.world.ledger.sends(self.number, message)
            self.world.network.send(self.number, effect.to, Envelope(message, blocks))

    def _with_bodies(self, message: Append | Fetched) -> tuple[Message | None, tuple[Block, ...]]:
        """Return the blocks that travel beside a message, and what of it can be said with those that can be read."""
        blocks: list[Block] = []
        for header in message.headers:
            block = self.bodies.find(header.index, header.hash)
            if block is None:
                break
            blocks.append(block)
        if len(blocks) == len(message.headers):
            return message, tuple(blocks)
        if isinstance(message, Append):
            return None, ()
        return message._replace(headers=message.headers[: len(blocks)], presence=Presence.UNKNOWN), tuple(blocks)

    def _write_blocks(self, effect: fx.WriteBlocks) -> None:
        for header in effect.headers:
            self.world.ledger.writes(self.number, header.ballot, header.index, header.hash)
            assert header.index == len(self.hashes), "blocks are written without gaps"
            self.hashes.append(header.hash)
        self._log_thread.submit(effect)

    def _truncate(self, effect: fx.Truncate) -> None:
        self.world.ledger.cuts(self.number, effect.after_index, self.hashes)
        del self.hashes[effect.after_index + 1 :]
        self._log_thread.submit(effect)

    def _store_promise(self, effect: fx.StorePromise) -> None:
        self._promise_thread.submit(effect)

    def _read_blocks(self, effect: fx.ReadBlocks) -> None:
        def end() -> None:
            headers, presence = self._read(effect.first, effect.last, effect.bytes_max)
            self.tell(ev.BlocksRead(effect.request, headers, presence, self.now_ns()))

        self.machine.device.complete(lambda: self.process.do(end))

    def _read(self, first: int, last: int, bytes_max: int) -> tuple[tuple[Header, ...], Presence]:
        headers: list[Header] = []
        taken = 0
        for index in range(first, last + 1):
            if index >= len(self.hashes):
                return tuple(headers), Presence.NEVER_HAD
            block = self.bodies.find(index, self.hashes[index])
            if block is None:
                return tuple(headers), Presence.UNKNOWN
            taken += block.stored_bytes
            if headers and taken > bytes_max:
                break
            self.bodies.add(block)
            headers.append(header_of(block))
        return tuple(headers), Presence.HAVE

    def _set_timer(self, effect: fx.SetTimer) -> None:
        number = self._timers[effect.timer] = self._timers.get(effect.timer, 0) + 1
        delay_ns = effect.after_ns + self.world.rng.randint(0, effect.jitter_ns)

        def fire() -> None:
            if self._timers[effect.timer] == number:
                self.tell(ev.TimerFired(effect.timer, self.now_ns()))

        self.world.timeline.after(self.machine.clock.timeline_ns(delay_ns), lambda: self.process.do(fire))

    def _cas_epoch(self, effect: fx.CasEpoch) -> None:
        self.world.coordinator.cas_epoch(
            effect.expected,
            effect.new,
            self.number,
            lambda content: self.process.do(
                lambda: self.tell(ev.EpochDecided(content.epoch, content.node, self.now_ns()))
            ),
        )

    def _begin_epoch(self, effect: fx.BeginEpoch) -> None:
        self.world.ledger.leads(self.number, self.run, effect.ballot, self.hashes)
        self.front.begin(effect)

    def _open_intake(self, effect: fx.OpenIntake) -> None:
        assert self.front.leading == effect.ballot
        self.front.open()

    def _close_intake(self, effect: fx.CloseIntake) -> None:
        self.front.close(effect.to)

    def _stepped_down(self, effect: fx.SteppedDown) -> None:
        self.front.step_down(effect)

    def _committed(self, effect: fx.Committed) -> None:
        self.world.ledger.commits(self.number, self.run, effect.commit_index, self.hashes)
        for index in range(self.applier.index + 1, effect.commit_index + 1):
            block = self._body(index, self.hashes[index])
            self.front.answer(block, self._apply(block))
        self.bodies.applied(self.applier.index)
        self.front.serve()
        self.sequencer.seal_waiting()

    def _leader_changed(self, effect: fx.LeaderChanged) -> None:
        self.front.leader = effect.ballot

    def _confirm_read(self, effect: fx.ConfirmRead) -> None:
        self.front.confirm(effect)

    def _refuse_read(self, effect: fx.RefuseRead) -> None:
        self.front.refuse(effect.read)

    def _hand_over_ended(self, effect: fx.HandOverEnded) -> None:
        if self.front.leading != NO_BALLOT and not effect.done:
            self.front.open()

    def _alarm(self, effect: fx.Alarm) -> None:
        self.machine.alarms[effect.concern] += 1


_PERFORM: Final[dict[type, Callable[[Node, Any], None]]] = {
    fx.Send: Node._send,
    fx.WriteBlocks: Node._write_blocks,
    fx.Truncate: Node._truncate,
    fx.StorePromise: Node._store_promise,
    fx.ReadBlocks: Node._read_blocks,
    fx.SetTimer: Node._set_timer,
    fx.CasEpoch: Node._cas_epoch,
    fx.BeginEpoch: Node._begin_epoch,
    fx.OpenIntake: Node._open_intake,
    fx.CloseIntake: Node._close_intake,
    fx.SteppedDown: Node._stepped_down,
    fx.Committed: Node._committed,
    fx.LeaderChanged: Node._leader_changed,
    fx.ConfirmRead: Node._confirm_read,
    fx.RefuseRead: Node._refuse_read,
    fx.HandOverEnded: Node._hand_over_ended,
    fx.Alarm: Node._alarm,
}
