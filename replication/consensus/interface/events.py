"""Events: what the host tells the protocol. Each is handled at once and answered by effects."""

from enum import IntEnum
from typing import NamedTuple

from replication.consensus.interface.header import Header
from replication.consensus.interface.membership import Membership
from replication.consensus.interface.messages import Message, Presence


class Timer(IntEnum):
    """What a timer is for. Setting one that is set replaces it."""

    SUSPICION = 1
    """Is a leader making progress?"""
    HEARTBEAT = 2
    """A leader's: tell that it leads; look whether a quorum answers and the own disk works."""
    RETRY = 3
    """Ask again what was not answered."""
    HAND_OVER = 4
    """Give up handing over."""


class Started(NamedTuple):
    """The host is ready; the first event, once."""

    now_ns: int


class Received(NamedTuple):
    """A message came from another node, whose number the transport has proven."""

    sender: int
    message: Message
    now_ns: int


class TimerFired(NamedTuple):
    """A timer's time has passed."""

    timer: Timer
    now_ns: int


class Proposed(NamedTuple):
    """The leader's sequencer sealed blocks, each following the last. Those of another ballot are dropped."""

    headers: tuple[Header, ...]
    now_ns: int


class BlocksDurable(NamedTuple):
    """Blocks that `effects.WriteBlocks` named are synced, and all before them.

    A completion may be late: it names the log's cut count and the last block's hash, and counts only where both match.
    """

    cut: int
    """As in the effect."""
    durable_index: int
    hash: bytes
    now_ns: int


class PromiseStored(NamedTuple):
    """A record that `effects.StorePromise` named, and all before it, is stored or replaced by a later one that is."""

    number: int
    now_ns: int


class BlocksRead(NamedTuple):
    """Blocks were read that `effects.ReadBlocks` asked for: from the first on, as many as its bounds allow."""

    request: int
    headers: tuple[Header, ...]
    presence: Presence
    """Of the block behind the last one given; `HAVE` where a bound was reached."""
    now_ns: int


class EpochDecided(NamedTuple):
    """The coordinator said which epoch is current and who may try in it; after a change by this node, or by another."""

    epoch: int
    node: int
    now_ns: int


class ReadRequested(NamedTuple):
    """Somebody wants to read what is committed by now."""

    read: int
    """Chosen by the host, never used twice."""
    now_ns: int


class HandOverRequested(NamedTuple):
    """An operator wants another node to lead."""

    to: int
    now_ns: int


class MembershipOffered(NamedTuple):
    """The coordinator named a membership."""

    membership: Membership
    now_ns: int


class StorageFailed(NamedTuple):
    """A write, a sync or a read failed in a way that is never retried: this node does nothing any more."""

    now_ns: int


Event = (
    Started
    | Received
    | TimerFired
    | Proposed
    | BlocksDurable
    | PromiseStored
    | BlocksRead
    | EpochDecided
    | ReadRequested
    | HandOverRequested
    | MembershipOffered
    | StorageFailed
)
