"""The transport: how one node's messages get to another, as the host of the protocol sees it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from replication.consensus.interface.messages import Message

Bytes = bytes | bytearray | memoryview

OnReceived = Callable[[int, Message, list[memoryview]], None]
"""Takes a sender's number, its message with ``headers`` left empty, and the blocks that came with it: header and body,
valid for as long as they are kept, checked by nobody yet. Messages of one sender come in the order of their sending."""


@dataclass(frozen=True, slots=True)
class PeerTraffic:
    """What went to one node since the start."""

    connected: bool
    messages: int
    """That were handed on; whether they arrived is not known."""
    bytes: int
    dropped: int
    """Messages that were not sent, since the node could not be reached or did not keep up."""
    waiting_bytes: int
    """Of messages that wait for the node to take them."""


class Transport(Protocol):
    """Sends to the other nodes of a cluster. What comes from them goes to an `OnReceived`.

    A message may be lost, and one that was sent before a loss may come after it, twice never. The protocol asks again.
    """

    def send(self, to: int, message: Message, blocks: Sequence[Bytes] = ()) -> None:
        """Send a message, with the blocks that it names in the order of its headers.

        Never waits and never raises: a node that cannot be reached, or does not keep up, is sent nothing. The blocks
        may be changed on return.
        """

    def traffic(self) -> dict[int, PeerTraffic]:
        """What went to each node."""
