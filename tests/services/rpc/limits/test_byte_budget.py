"""A byte budget bounds what each connection and all together hold, and lets those wait who find no room."""

import asyncio

import pytest

from services.rpc.limits.byte_budget import ByteBudget


async def waits(budget: ByteBudget, peer: str, byte_count: int) -> "asyncio.Task[None]":
    """Start to reserve, and let it come as far as it can."""
    task = asyncio.create_task(budget.reserve(peer, byte_count))
    await asyncio.sleep(0)
    return task


async def test_a_connection_that_used_up_its_share_waits_and_holds_up_nobody_else() -> None:
    budget = ByteBudget(bytes_max=100, connection_bytes_max=40)
    await budget.reserve("a", 40)
    second = await waits(budget, "a", 10)
    await budget.reserve("b", 40)
    assert not second.done()
    budget.release("a", 10)
    await second
    assert budget.held_bytes == 80


async def test_who_waits_for_the_room_of_all_is_not_overtaken() -> None:
    budget = ByteBudget(bytes_max=100, connection_bytes_max=60)
    await budget.reserve("a", 60)
    large, small = await waits(budget, "b", 60), await waits(budget, "c", 10)
    assert not large.done()
    assert not small.done()
    budget.release("a", 30)
    await asyncio.gather(large, small)
    assert budget.held_bytes == 100


@pytest.mark.parametrize("granted", [False, True])
async def test_a_wait_that_is_cancelled_leaves_nothing_held_and_lets_the_next_one_in(granted: bool) -> None:
    budget = ByteBudget(bytes_max=100, connection_bytes_max=100)
    await budget.reserve("a", 100)
    cancelled, next_one = await waits(budget, "b", 100), await waits(budget, "c", 100)
    if granted:
        budget.release("a", 100)
    cancelled.cancel()
    if not granted:
        budget.release("a", 100)
    await next_one
    assert cancelled.cancelled()
    assert budget.held_bytes == 100
