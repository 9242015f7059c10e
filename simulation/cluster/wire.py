"""Wire: what travels over the virtual network besides the protocol's own messages."""

from typing import NamedTuple

from replication.consensus.interface.messages import Message
from replication.log.block import Block


class Envelope(NamedTuple):
    """A message between nodes, and the blocks whose bodies travel beside it."""

    message: Message
    blocks: tuple[Block, ...] = ()


class Submission(NamedTuple):
    """A client's transaction: add 1 to the client's counter. Sent again until it is answered, under the same key."""

    client: int
    sequence: int


class Receipt(NamedTuple):
    """The transaction is durable on a quorum and applied."""

    sequence: int
    at_index: int
    """Of the block that it stands in."""
    position: int
    """Its number in the log; of a retry, the retry's."""
    result: int


class NotLeader(NamedTuple):
    """Ask another node; nothing has been done."""

    sequence: int
    hint: int
    """Who leads, as far as the sender knows; 0 where it does not."""


class Unknown(NamedTuple):
    """The transaction may take effect or not: ask again, under the same key."""

    sequence: int


class ReadRequest(NamedTuple):
    """A client asks for its counter, as of now."""

    read: int


class ReadAnswer(NamedTuple):
    """The counter at an index."""

    read: int
    at_index: int
    amount: int


class ReadRefused(NamedTuple):
    """The node cannot tell."""

    read: int
    hint: int
