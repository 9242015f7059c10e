"""The bound on what travels holds, is fair, and loses no room."""

import asyncio
from random import Random

from penstock.client.options import FlowOptions, RetryOptions
from penstock.client.transport.flow_window import FlowWindow


async def test_those_who_wait_are_let_in_in_their_order_and_nobody_overtakes() -> None:
    window = FlowWindow(FlowOptions(frames_max=10, transactions_max=10))
    order: list[int] = []

    async def enter(count: int) -> None:
        await window.wait_and_enter(count)
        order.append(count)

    await enter(8)
    tasks = [asyncio.create_task(enter(count)) for count in (5, 1, 2)]
    await asyncio.sleep(0)
    assert not window.try_enter(1)
    window.leave(8)
    await asyncio.gather(*tasks)
    assert order == [8, 5, 1, 2]
    assert (window.frames, window.transactions) == (3, 8)


async def test_who_stops_waiting_takes_no_room() -> None:
    window = FlowWindow(FlowOptions(frames_max=1))
    await window.wait_and_enter(1)
    waiting, behind = (asyncio.create_task(window.wait_and_enter(1)) for _ in range(2))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    window.leave(1)
    behind.cancel()  # entered already, but it has not run yet
    await asyncio.wait([waiting, behind])
    assert (window.frames, window.transactions) == (0, 0)


async def test_a_frame_larger_than_the_bound_travels_alone() -> None:
    window = FlowWindow(FlowOptions(transactions_max=5))
    await asyncio.wait_for(window.wait_and_enter(10), 1)
    assert not window.has_room(1)


def test_backoff_grows_up_to_its_cap_is_jittered_and_adds_to_what_the_node_asked_for() -> None:
    backoff = RetryOptions(backoff_base_ms=100, backoff_cap_ms=1000).backoff(Random(1))
    first = [RetryOptions(backoff_base_ms=100).backoff(Random(seed)).next_s() for seed in range(100)]
    assert 0 <= min(first) < 0.05 < max(first) <= 0.1
    assert all(0 <= backoff.next_s() <= 1.0 for _ in range(1100))
    assert all(2 <= backoff.next_s(2.0) <= 3.0 for _ in range(10))
    backoff.reset()
    assert backoff.next_s() <= 0.1


def test_the_same_randomness_gives_the_same_waits() -> None:
    once, again, other = ([RetryOptions().backoff(Random(seed)).next_s() for _ in range(3)] for seed in (5, 5, 6))
    assert once == again != other
