"""A frame is let in only where the tables hold it besides all that is under way, each at its worst."""

import asyncio
from types import SimpleNamespace
from typing import cast

from services.admission.state_capacity import StateCapacity
from services.pipeline.pending_frames import PendingFrames
from services.telemetry.counters import Counters
from statestore.capacity import growth_bytes_max
from statestore.state_machine import StateMachine


def state_with(free_bytes: int) -> StateMachine:
    return cast(StateMachine, SimpleNamespace(free_bytes=free_bytes))


async def test_a_frame_fits_to_the_byte() -> None:
    pending_frames = PendingFrames(asyncio.get_running_loop(), Counters())
    needed = growth_bytes_max(10, 1000)
    assert StateCapacity(state_with(needed), pending_frames).fits(10, 1000)
    assert not StateCapacity(state_with(needed - 1), pending_frames).fits(10, 1000)


async def test_frames_under_way_count_until_they_are_answered() -> None:
    pending_frames = PendingFrames(asyncio.get_running_loop(), Counters())
    capacity = StateCapacity(state_with(growth_bytes_max(15, 1500)), pending_frames)
    token = pending_frames.register(1, lambda *_: None, "", 10, 1000)
    assert capacity.fits(5, 500)
    assert not capacity.fits(6, 600)
    pending_frames.unregister(token)
    assert capacity.fits(15, 1500)
