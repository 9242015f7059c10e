"""Bounds on sessions: a node that is started with others than its log has in force changes them, by a transaction."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import numpy as np

from penstock.contract import opcode
from penstock.contract.record import RECORD, as_words
from services.pipeline.pending_frames import PendingFrames
from services.refusal import Refusal
from services.telemetry.counters import Counter, Counters
from statestore.session_bounds import SessionBounds
from statestore.state_machine import StateMachine
from txqueue.producer import Producer

TAKEN_S_MAX: Final = 30.0
"""What the log may take for it: a thousand times as long as a sync of a slow disk."""

_log = logging.getLogger(__name__)


class BoundsNotTaken(Exception):
    """The log did not take a change of the bounds on sessions; the message says what hangs."""


async def put_into_force(
    wanted: SessionBounds,
    state: StateMachine,
    producer: Producer,
    pending_frames: PendingFrames,
    counters: Counters,
    hanging: Callable[[], str],
) -> None:
    """Have the log take SET_SESSION_BOUNDS where other bounds are in force; called before anything else is admitted.

    Where the log has no room at the moment, the bounds stay as they are, which is said: that is no reason not to start.

    Raises:
        BoundsNotTaken: there was no answer within `TAKEN_S_MAX`; ``hanging`` says what waits, and for how long.
    """
    in_force = state.session_bounds
    if in_force == wanted:
        return
    records = np.zeros(1, RECORD)
    records["operation"], records["amount"] = opcode.SET_SESSION_BOUNDS, wanted.capacity
    records["operand_lo"], records["operand_hi"] = wanted.horizon_ns, wanted.page_capacity
    answer: asyncio.Future[bytes | Refusal] = asyncio.get_running_loop().create_future()

    def deliver(_: int, outcome: bytes | Refusal) -> None:
        if not answer.done():
            answer.set_result(outcome)

    token = pending_frames.register(0, deliver, "", 1, 0)
    producer.enqueue(as_words(records), token=token)
    counters.add(Counter.FRAMES_ENQUEUED)
    counters.add(Counter.TRANSACTIONS_ENQUEUED)
    try:
        async with asyncio.timeout(TAKEN_S_MAX):
            outcome = await answer
    except TimeoutError:
        raise BoundsNotTaken(
            f"the log has not taken a change of the bounds on sessions within {TAKEN_S_MAX:.0f} s ({hanging()}): check "
            "the disk of node.data_dir, then start the node again"
        ) from None
    finally:
        pending_frames.unregister(token)  # a stop does not wait for it
    if isinstance(outcome, Refusal):
        _log.warning("bounds on sessions stay %s: %s", in_force, outcome.message)
        return
    _log.info("bounds on sessions changed from %s to %s", in_force, wanted)
