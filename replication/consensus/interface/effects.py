"""Effects: what the protocol asks of the host, to be begun in the order given.

The log is changed strictly in the order of `WriteBlocks` and `Truncate`: what is written behind a cut is durable only
where the cut is, too. Promises are stored in their order. Reads, messages and timers are free to overtake.
"""

from enum import StrEnum
from typing import NamedTuple

from replication.consensus.interface.events import Timer
from replication.consensus.interface.header import Header, Tip
from replication.consensus.interface.messages import Message
from replication.consensus.interface.promise import Promise
from replication.log.ballot import Ballot


class Send(NamedTuple):
    """Send a message. With `Append` and `Fetched` go the bodies of the blocks named, from memory or from the log."""

    to: int
    message: Message


class WriteBlocks(NamedTuple):
    """Append blocks to the own log and sync them: `events.BlocksDurable`."""

    cut: int
    """How often the log was cut in this run; the completion names it."""
    headers: tuple[Header, ...]


class Truncate(NamedTuple):
    """Cut the log behind ``after_index``, durable blocks too, and so that a crash half-way leaves no spliced log."""

    cut: int
    after_index: int


class StorePromise(NamedTuple):
    """Store the record whole, atomically and synced: `events.PromiseStored`."""

    number: int
    promise: Promise


class ReadBlocks(NamedTuple):
    """Read headers of blocks of the own log, whose bodies are then sent: `events.BlocksRead`."""

    request: int
    first: int
    last: int
    bytes_max: int
    """Bytes of blocks that the answer may have, though always one block."""


class SetTimer(NamedTuple):
    """Set a timer: ``after_ns`` and a random part of ``jitter_ns`` from now, replacing the earlier one of its kind."""

    timer: Timer
    after_ns: int
    jitter_ns: int


class CasEpoch(NamedTuple):
    """Have the coordinator replace epoch ``expected`` by this node's ``new``: `events.EpochDecided` says who has it."""

    expected: int
    new: int


class BeginEpoch(NamedTuple):
    """This node leads: seal the empty block that opens its ballot, behind ``tip``, and propose it."""

    ballot: Ballot
    generation: int
    tip: Tip


class OpenIntake(NamedTuple):
    """Seal transactions under this ballot, behind the last block proposed."""

    ballot: Ballot


class CloseIntake(NamedTuple):
    """Seal nothing more for now: another node is to lead. Clients are told to wait, or whom to ask."""

    ballot: Ballot
    to: int


class SteppedDown(NamedTuple):
    """This node leads no more. What was proposed behind ``commit_index`` is neither done nor undone: *unknown*."""

    ballot: Ballot
    commit_index: int


class Committed(NamedTuple):
    """All blocks up to the index are committed and durable here: apply and answer them. Never goes back."""

    commit_index: int


class LeaderChanged(NamedTuple):
    """Whom to name to clients."""

    ballot: Ballot
    """Of the leader, whose node it names; `NO_BALLOT` where none is known."""


class ConfirmRead(NamedTuple):
    """The read may be served once all blocks up to the index are applied."""

    read: int
    commit_index: int


class RefuseRead(NamedTuple):
    """This node cannot confirm the read: it does not lead, or not yet, or not any more."""

    read: int


class HandOverEnded(NamedTuple):
    """Handing over ended: ``done`` where another node's ballot was seen, else intake is open again."""

    to: int
    done: bool


class Concern(StrEnum):
    """What an operator should hear of."""

    LOG_DIFFERS = "log-differs"
    """Equal ballot and index with another hash: damage, or a node that does not keep to the protocol."""
    LOG_REGRESSED = "log-regressed"
    """A node denies what it acknowledged: an older copy of its disk was put in place. It is not counted."""
    BLOCK_UNREADABLE = "block-unreadable"
    """A node cannot read a block that others need from it."""
    LOG_RECYCLED = "log-recycled"
    """A node needs blocks that the leader does not keep any more."""
    MEMBERSHIP_OLD = "membership-old"
    """The coordinator names an older membership than the nodes have: it was restored. The nodes' counts."""
    MEMBERSHIP_UNSAFE = "membership-unsafe"
    """A membership was named whose quorums need not meet those of the current one. It is not taken."""


class Alarm(NamedTuple):
    """Something that the protocol withstands and does not explain."""

    concern: Concern
    node: int
    """The node concerned."""
    at_index: int
    """Of the block concerned, or of the last before it; a membership's generation."""


Effect = (
    Send
    | WriteBlocks
    | Truncate
    | StorePromise
    | ReadBlocks
    | SetTimer
    | CasEpoch
    | BeginEpoch
    | OpenIntake
    | CloseIntake
    | SteppedDown
    | Committed
    | LeaderChanged
    | ConfirmRead
    | RefuseRead
    | HandOverEnded
    | Alarm
)
