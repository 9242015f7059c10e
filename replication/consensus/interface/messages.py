"""Messages: what nodes say to each other.

Each carries a ballot and the sender's membership generation. Only `Sealed`, `Ack` and `Rejoined` vote; they are plain
values, so that one day a node can sign them. Messages may be lost, doubled, delayed and reordered.

Being tuples, messages of two kinds are equal where their fields are; who keeps them in a set adds the type.
"""

from bisect import bisect_right
from enum import IntEnum
from typing import Final, NamedTuple

from replication.consensus.interface.header import Header, Tip
from replication.consensus.interface.membership import Membership
from replication.consensus.interface.promise import Incarnation
from replication.log.ballot import Ballot


class Run(NamedTuple):
    """Consecutive blocks of one ballot."""

    ballot: Ballot
    first_index: int


class Extent(NamedTuple):
    """What is durable in a node's log, as far as others need to know."""

    tip: Tip
    commit_index: int
    """The highest index that the node knows to be committed."""
    runs: tuple[Run, ...]
    """The ballots of the last blocks, ascending, at least of all behind the commit index."""

    def ballot_at(self, index: int) -> Ballot | None:
        """Return the ballot of the block at ``index`` where the runs tell it."""
        if not self.runs or not self.runs[0].first_index <= index <= self.tip.index:
            return None
        return self.runs[bisect_right(self.runs, index, key=_first_index) - 1].ballot


def _first_index(run: Run) -> int:
    return run.first_index


class Suspect(NamedTuple):
    """A voter sees no leader making progress, and asks whether others do. Binds nobody to anything."""

    ballot: Ballot
    """The highest that the sender promised."""
    generation: int
    attempt: int
    """Tells the answers to one question from those to an earlier one."""
    tip_ballot: Ballot
    """Of the last block in the sender's log."""
    tip_index: int


class Suspected(NamedTuple):
    """The answer: whether the sender has seen no progress, either, and has no much longer log to lead with."""

    ballot: Ballot
    """The highest that the sender promised."""
    generation: int
    attempt: int
    agrees: bool


class Seal(NamedTuple):
    """A candidate asks for the promise to refuse all ballots below its own: the first phase of Paxos."""

    ballot: Ballot
    generation: int


class Sealed(NamedTuple):
    """The promise, stored, and what the node's log holds. A vote."""

    ballot: Ballot
    generation: int
    incarnation: Incarnation
    incarnations: tuple[tuple[int, Incarnation], ...]
    """Of other nodes, as far as the sender knows: answers of older ones are void."""
    voting: bool
    extent: Extent


class Fetch(NamedTuple):
    """A candidate reads blocks that its own log lacks: a recovery read, which seals like `Seal`."""

    ballot: Ballot
    generation: int
    first: int
    last: int


class Presence(IntEnum):
    """What a log can say about a block: three answers, of which *unknown* is never taken for *never had*."""

    HAVE = 1
    NEVER_HAD = 2
    UNKNOWN = 3


class Fetched(NamedTuple):
    """Blocks from ``first`` on, as many as the answer can carry; their bodies travel beside the message."""

    ballot: Ballot
    generation: int
    first: int
    headers: tuple[Header, ...]
    presence: Presence
    """Of the block behind the last one given; `HAVE` where the answer was only full."""


class OpenStream(NamedTuple):
    """A leader begins to send its log to a node: what was said in earlier streams is void."""

    ballot: Ballot
    generation: int
    stream: int
    """Counts the streams from one leader to one node, from 1."""


class StreamOpened(NamedTuple):
    """The node's log, from which the leader finds where the two part."""

    ballot: Ballot
    generation: int
    stream: int
    incarnation: Incarnation
    voting: bool
    extent: Extent


class Append(NamedTuple):
    """Blocks that follow each other, to be made durable; their bodies travel beside the message."""

    ballot: Ballot
    generation: int
    stream: int
    headers: tuple[Header, ...]
    """At least one."""
    commit_index: int


NO_ROUND: Final = 0
"""Of a heartbeat that only tells what is committed."""


class Heartbeat(NamedTuple):
    """The leader leads: what is committed, and whether its own disk makes progress."""

    ballot: Ballot
    generation: int
    stream: int
    commit_index: int
    last_index: int
    """Of the leader's log."""
    sent_index: int
    """Of what was sent in this stream. Where less arrived, something was lost."""
    progress: int
    """Grows with every proof that the leader's disk works; 0 growth with writes outstanding is no sign of life."""
    round: int
    """Numbers heartbeats; an answer proves that the ballot was the highest when it was given; none to `NO_ROUND`."""
    incarnation: Incarnation
    """The receiver's, as the sender knows it: proves that the heartbeat is no older."""


class Ack(NamedTuple):
    """Everything up to an index is synced here and equal to the leader's log. Cumulative. A vote."""

    ballot: Ballot
    generation: int
    stream: int
    incarnation: Incarnation
    voting: bool
    durable_index: int
    """Synced, and proven equal to the leader's log."""
    durable_hash: bytes
    """The block's hash there; empty where the node does not remember it."""
    round: int
    """Of the last heartbeat that was heard; 0 before there was one."""


class Refusal(IntEnum):
    """Why a node does not do what it is asked."""

    BALLOT = 1
    """It promised a higher ballot, which the refusal names."""
    GENERATION = 2
    """It knows a newer membership, which the refusal carries."""
    NO_STREAM = 3
    """It knows nothing of this stream: it was restarted, or the stream's beginning was lost."""
    GAP = 4
    """Blocks between the end of its log and those sent did not arrive; ``at_index`` is the last that matches."""
    CONFLICT = 5
    """The block before those sent differs from its own at that index; ``at_index`` is where it does."""


class Refused(NamedTuple):
    """A refusal. One that names a stream concerns that stream alone."""

    ballot: Ballot
    """The highest that the sender promised."""
    generation: int
    refused: Ballot
    """The ballot of the message that was refused."""
    reason: Refusal
    stream: int = 0
    at_index: int = 0
    membership: Membership | None = None
    """The sender's, where the reason is `Refusal.GENERATION`."""


class TakeOver(NamedTuple):
    """A leader permits a node that holds its whole log to seal a ballot at once, without anyone's suspicion."""

    ballot: Ballot
    generation: int


class Rejoin(NamedTuple):
    """A node that lost its disk, or cannot read what it acknowledged, asks what it must not contradict."""

    ballot: Ballot
    generation: int
    incarnation: Incarnation


class Rejoined(NamedTuple):
    """The sender will count only that incarnation, or a later one, from now on. A vote."""

    ballot: Ballot
    """The highest that the sender promised."""
    generation: int
    incarnation: Incarnation
    """Echoed; or a higher one that the sender knows, which voids the request."""
    voting: bool


Message = (
    Suspect
    | Suspected
    | Seal
    | Sealed
    | Fetch
    | Fetched
    | OpenStream
    | StreamOpened
    | Append
    | Heartbeat
    | Ack
    | Refused
    | TakeOver
    | Rejoin
    | Rejoined
)
