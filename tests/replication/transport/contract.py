"""What every transport promises, as tests that each kind of it inherits."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import pytest

from replication.consensus.interface.messages import Append, Heartbeat, Message, Seal
from replication.consensus.interface.promise import Incarnation
from replication.log.ballot import Ballot
from replication.log.block import BLOCK_BYTES_MAX
from replication.transport.transport import OnReceived, Transport

BALLOT = Ballot(7, 1)


class Came(NamedTuple):
    sender: int
    message: Message
    blocks: list[bytes]


class Inbox:
    """What came to a node; `hold` keeps its event loop from taking more for a while."""

    def __init__(self) -> None:
        self.came: list[Came] = []
        self._changed = asyncio.Event()

    def receive(self, sender: int, message: Message, blocks: list[memoryview]) -> None:
        self.came.append(Came(sender, message, [bytes(block) for block in blocks]))
        self._changed.set()

    async def until(self, true: Callable[[list[Came]], bool]) -> list[Came]:
        async with asyncio.timeout(20):
            while not true(self.came):
                self._changed.clear()
                await self._changed.wait()
        return self.came


async def turns_until(true: Callable[[], object]) -> None:
    """Give the event loop turns until something is so that tells nobody of it."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.001)


def heartbeat(number: int) -> Heartbeat:
    return Heartbeat(BALLOT, 1, 1, 0, 0, 0, 0, number, Incarnation(0, 2))


def rounds(came: list[Came]) -> list[int]:
    return [each.message.round for each in came if isinstance(each.message, Heartbeat)]


class TransportContract(ABC):
    """Subclasses say how to join a node to the test's cluster, and how to take it away."""

    @abstractmethod
    async def join(self, node: int, on_received: OnReceived) -> Transport:
        """Begin a node, which the others know, and which knows them."""

    @abstractmethod
    async def leave(self, node: int) -> None:
        """End a node."""

    @pytest.fixture
    async def pair(self) -> AsyncIterator[tuple[Transport, Inbox]]:
        inbox = Inbox()
        sender = await self.join(1, Inbox().receive)
        await self.join(2, inbox.receive)
        await self.connected(sender, 2)
        yield sender, inbox
        await self.leave(1)
        await self.leave(2)

    async def connected(self, transport: Transport, to: int) -> None:
        await turns_until(lambda: transport.traffic()[to].connected)

    async def test_messages_come_in_the_order_of_their_sending_from_whom_sent_them(
        self, pair: tuple[Transport, Inbox]
    ) -> None:
        sender, inbox = pair
        for number in range(200):
            sender.send(2, heartbeat(number))
        came = await inbox.until(lambda came: len(came) == 200)
        assert rounds(came) == list(range(200))
        assert {each.sender for each in came} == {1}

    async def test_blocks_come_with_their_message(self, pair: tuple[Transport, Inbox]) -> None:
        sender, inbox = pair
        blocks = [bytes([fill]) * size for fill, size in enumerate((128, 640_128, 1))]
        sender.send(2, Append(BALLOT, 1, 1, (), 9), blocks)
        (came,) = await inbox.until(lambda came: len(came) == 1)
        assert came == (1, Append(BALLOT, 1, 1, (), 9), blocks)

    async def test_the_largest_block_there_can_be_comes_through(self, pair: tuple[Transport, Inbox]) -> None:
        sender, inbox = pair
        sender.send(2, Append(BALLOT, 1, 1, (), 0), [bytes(BLOCK_BYTES_MAX)])
        (came,) = await inbox.until(lambda came: len(came) == 1)
        assert len(came.blocks[0]) == BLOCK_BYTES_MAX

    async def test_a_buffer_may_be_changed_once_it_was_sent(self, pair: tuple[Transport, Inbox]) -> None:
        sender, inbox = pair
        buffer = bytearray(b"first" * 1000)
        sender.send(2, Append(BALLOT, 1, 1, (), 0), [buffer])
        buffer[:] = b"other" * 1000
        (came,) = await inbox.until(lambda came: len(came) == 1)
        assert came.blocks == [b"first" * 1000]

    async def test_what_goes_to_a_node_that_is_away_is_dropped_and_counted(self) -> None:
        sender = await self.join(1, Inbox().receive)
        for number in range(50):
            sender.send(2, heartbeat(number))
        await turns_until(lambda: sender.traffic()[2].dropped == 50)
        traffic = sender.traffic()[2]
        assert (traffic.connected, traffic.messages, traffic.dropped, traffic.waiting_bytes) == (False, 0, 50, 0)
        await self.leave(1)

    async def test_a_node_that_comes_back_is_reached_again_by_itself(self, pair: tuple[Transport, Inbox]) -> None:
        sender, _ = pair
        await self.leave(2)
        inbox = Inbox()
        await self.join(2, inbox.receive)

        def send_until_it_comes() -> bool:
            sender.send(2, heartbeat(1))
            return bool(inbox.came)

        await turns_until(send_until_it_comes)
        assert inbox.came[0].message == heartbeat(1)

    async def test_both_send_to_each_other_at_once(self) -> None:
        inboxes = {1: Inbox(), 2: Inbox()}
        nodes = {node: await self.join(node, inboxes[node].receive) for node in (1, 2)}
        for node, other in ((1, 2), (2, 1)):
            await self.connected(nodes[node], other)
        for number in range(20):
            nodes[1].send(2, heartbeat(number))
            nodes[2].send(1, Seal(Ballot(number, 2), 1))
        await inboxes[2].until(lambda came: len(came) == 20)
        came = await inboxes[1].until(lambda came: len(came) == 20)
        assert {each.sender for each in came} == {2}
        for node in (1, 2):
            await self.leave(node)

    async def test_one_that_does_not_keep_up_costs_bounded_memory_and_nobody_else_anything(self) -> None:
        """Node 2 takes nothing while node 3 gets everything."""
        inbox = Inbox()
        sender = await self.join(1, Inbox().receive)
        stuck = await self.join_stuck(2)
        await self.join(3, inbox.receive)
        await self.connected(sender, 2)
        await self.connected(sender, 3)
        block = bytes(1 << 20)
        for number in range(200):
            sender.send(2, Append(BALLOT, 1, 1, (), number), [block])
            sender.send(3, heartbeat(number))
            await inbox.until(lambda came, number=number: len(came) == number + 1)  # type: ignore[misc]  # bound at once
        traffic = sender.traffic()[2]
        assert traffic.dropped > 0
        assert traffic.waiting_bytes <= 64 << 20
        assert rounds(inbox.came) == list(range(200))
        await stuck()
        await self.leave(1)
        await self.leave(3)

    @abstractmethod
    async def join_stuck(self, node: int) -> Callable[[], Awaitable[None]]:
        """Begin a node that is reached and takes nothing; returns what ends it, to be awaited."""
