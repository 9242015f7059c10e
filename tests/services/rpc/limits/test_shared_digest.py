"""The digest of the whole state is computed one at a time, shared, and never older than the question."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from services.pipeline.channel import ChannelClosed
from services.rpc.limits import shared_digest
from services.rpc.limits.shared_digest import SharedDigest


class HeldState:
    """A state whose queries are answered when the test says so."""

    def __init__(self) -> None:
        self.applied_index = 1
        self.applied_position = 10
        self.effects_digest = 7
        self.asked: list[Callable[[], None]] = []
        self.ended = False

    def state_digest(self) -> int:
        return 100 + self.applied_index

    def query(self, ask: Callable[[Any], Any]) -> "Future[Any]":
        if self.ended:
            raise ChannelClosed
        answer: Future[Any] = Future()
        self.asked.append(lambda: answer.set_result(ask(self)))
        return answer


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_many_who_ask_while_one_is_computed_share_the_next_which_covers_what_they_saw(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_digest, "_PAUSE_FACTOR", 0.0)
    state = HeldState()
    digest = SharedDigest(state.query)
    first = asyncio.create_task(digest.get())
    await turns()
    later = [asyncio.create_task(digest.get()) for _ in range(50)]
    await turns()
    assert len(state.asked) == 1
    state.asked[0]()
    assert (await first).state_digest == 101
    state.applied_index = 2
    await turns()
    assert len(state.asked) == 2
    later[0].cancel()
    state.asked[1]()
    assert {at.state_digest for at in await asyncio.gather(*later[1:])} == {102}
    assert len(state.asked) == 2


async def test_a_digest_of_a_pipeline_that_has_ended_is_refused_to_each_who_asks() -> None:
    state = HeldState()
    state.ended = True
    digest = SharedDigest(state.query)
    for _ in range(2):
        with pytest.raises(ChannelClosed):
            await digest.get()
