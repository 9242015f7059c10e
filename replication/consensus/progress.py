"""Progress: what a leader knows of one other node, and what is on its way to it."""

from collections import deque

from replication.consensus.interface.config import ConsensusConfig
from replication.consensus.interface.effects import Concern, ReadBlocks
from replication.consensus.interface.header import Header
from replication.consensus.interface.messages import Append, OpenStream, Presence, Refusal, Refused, StreamOpened
from replication.consensus.interface.promise import UNKNOWN, Incarnation
from replication.consensus.node_state import NodeState
from replication.log.ballot import Ballot


class Progress:
    """One node's stream, as its leader sees it.

    Blocks go out while the window has room, from memory or from the log, each node for itself: one that is slow, paused
    or far behind keeps nobody waiting.
    """

    __slots__ = (
        "_bytes_in_flight",
        "_in_flight",
        "_reading",
        "_resumed_at",
        "counts",
        "durable_index",
        "first_index",
        "heard_ns",
        "highest_index",
        "incarnation",
        "next_index",
        "node",
        "opened",
        "regressed",
        "round",
        "stream",
    )

    def __init__(self, node: int, now_ns: int) -> None:
        self.node = node
        self.stream = 0
        self.opened = False
        self.counts = False
        """Whether what the node acknowledges counts. It says so itself, with what it acknowledges."""
        self.regressed = False
        """Whether the node denies what this incarnation of it acknowledged: then nothing it says counts."""
        self.incarnation: Incarnation = UNKNOWN
        self.first_index = 1
        """Where the stream begins."""
        self.next_index = 1
        """Of the block to be sent next."""
        self.durable_index = 0
        """Acknowledged in this stream."""
        self.highest_index = 0
        """Acknowledged in any stream of this leadership by this incarnation."""
        self.round = 0
        """Of the last heartbeat that was answered."""
        self.heard_ns = now_ns
        self._reading = 0
        """The request of blocks that the log is being asked for; 0 where it is not."""
        self._resumed_at = 0
        self._in_flight: deque[tuple[int, int]] = deque()
        self._bytes_in_flight = 0

    @property
    def sent_index(self) -> int:
        """The last block that was sent in this stream, or, at its beginning, the one before."""
        return self.next_index - 1

    def open(self, state: NodeState, ballot: Ballot) -> None:
        """Begin a new stream: what was said in the last one is void."""
        self.stream += 1
        self.opened = False
        self.counts = False
        self.durable_index = 0
        self.round = 0
        self._reading = 0
        self._forget_in_flight()
        self.ask_to_open(state, ballot)

    def ask_to_open(self, state: NodeState, ballot: Ballot) -> None:
        """Ask for the node's log, or ask again."""
        assert not self.opened
        state.send(self.node, OpenStream(ballot, state.membership.generation, self.stream))

    def begin(self, state: NodeState, message: StreamOpened) -> None:
        """Find where the two logs part, and send from there."""
        assert message.stream == self.stream
        assert not self.opened
        extent = message.extent
        self.opened = True
        if message.incarnation != self.incarnation:
            self.incarnation = message.incarnation
            self.highest_index = 0
            self.regressed = False
        if extent.tip.index < self.highest_index:
            self.regressed = True
            state.alarm(Concern.LOG_REGRESSED, self.node, extent.tip.index)
        # A leader's log has all that is committed.
        fork = state.outline.fork_index(extent, extent.commit_index)
        self._forget_in_flight()
        # The last block that both seem to have is sent, too: its hash proves to the node that both have it.
        self.first_index = self.next_index = fork if fork > extent.commit_index else fork + 1
        self._resumed_at = 0

    def send(self, state: NodeState, ballot: Ballot) -> None:
        """Send what the node lacks, as far as the window has room."""
        if not self.opened or self._reading:
            return
        config = state.config
        outline = state.outline
        while self.next_index <= outline.tip.index and self._has_room(config):
            newest = outline.recent[-1]
            if newest.index == self.next_index:  # as it is while the node keeps up
                self._send(state, ballot, (newest,))
                return
            if outline.header(self.next_index) is None:
                self._read(state)
                return
            headers: list[Header] = []
            room = config.message_bytes
            while len(headers) < config.window_blocks - self._blocks_in_flight:
                header = outline.header(self.next_index + len(headers))
                if header is None or (headers and header.stored_bytes > room):
                    break
                headers.append(header)
                room -= header.stored_bytes
            self._send(state, ballot, tuple(headers))

    def read(self, state: NodeState, ballot: Ballot, request: int, headers: tuple[Header, ...], end: Presence) -> None:
        """Send blocks that were read from the log."""
        if request != self._reading:
            return
        self._reading = 0
        if headers and headers[0].index == self.next_index:
            self._send(state, ballot, headers)
        if end is not Presence.HAVE:
            state.alarm(Concern.BLOCK_UNREADABLE, state.node, self.next_index)
        elif headers:
            self.send(state, ballot)

    def acknowledge(self, durable_index: int) -> None:
        """Note what the node has synced, and let as much more go out."""
        if durable_index <= self.durable_index:
            return
        self.durable_index = durable_index
        self.highest_index = max(self.highest_index, durable_index)
        in_flight = self._in_flight
        while in_flight and in_flight[0][0] <= durable_index:
            self._bytes_in_flight -= in_flight.popleft()[1]
        if self.next_index <= durable_index:
            self.next_index = durable_index + 1

    def resume(self, state: NodeState, message: Refused) -> bool:
        """Send again from where the node says its log ends or differs; tell whether there is anything to send.

        Blocks behind a lost one are all refused: only the first such refusal between two heartbeats is acted on.
        """
        if not self.opened or message.at_index + 1 == self._resumed_at:
            return False
        if message.reason is Refusal.CONFLICT and message.at_index < self.first_index:
            state.alarm(Concern.LOG_DIFFERS, self.node, message.at_index)
            self.opened = False  # asked anew with the next heartbeat, no sooner
            return False
        proven = self.durable_index if message.reason is Refusal.CONFLICT else message.at_index
        self._resumed_at = message.at_index + 1
        self.next_index = max(proven + 1, self.first_index)
        self._forget_in_flight()
        return True

    def heartbeat(self) -> None:
        """Another heartbeat goes out."""
        self._resumed_at = 0

    def _has_room(self, config: ConsensusConfig) -> bool:
        return self._blocks_in_flight < config.window_blocks and self._bytes_in_flight < config.window_bytes

    @property
    def _blocks_in_flight(self) -> int:
        return self.next_index - max(self.durable_index + 1, self.first_index)

    def _send(self, state: NodeState, ballot: Ballot, headers: tuple[Header, ...]) -> None:
        assert headers[0].index == self.next_index
        message = Append(ballot, state.membership.generation, self.stream, headers, state.commit_index)
        state.send(self.node, message)
        byte_count = 0
        for header in headers:
            byte_count += header.stored_bytes
        self._in_flight.append((headers[-1].index, byte_count))
        self._bytes_in_flight += byte_count
        self.next_index = headers[-1].index + 1

    def _read(self, state: NodeState) -> None:
        outline = state.outline
        if self.next_index <= outline.base.index:
            state.alarm(Concern.LOG_RECYCLED, self.node, self.next_index)
            self.opened = False
            return
        state.request += 1
        self._reading = state.request
        last = min(outline.tip.index, self.next_index + state.config.window_blocks - 1)
        state.effects.append(ReadBlocks(self._reading, self.next_index, last, state.config.message_bytes))

    def _forget_in_flight(self) -> None:
        self._in_flight.clear()
        self._bytes_in_flight = 0
