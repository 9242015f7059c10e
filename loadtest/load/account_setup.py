"""Opens and funds the accounts that a load of transfers moves money between."""

import asyncio
from collections.abc import Callable

from loadtest.load.frame_outcomes import ACCEPTED
from loadtest.load.frame_source import OPENING_FRAME, OpeningSource
from loadtest.load.worker import ANSWER_DEADLINE_S, Outcome, Recorder, flow_options
from penstock.client.async_client import AsyncClient
from penstock.client.options import RetryOptions

_IN_FLIGHT = 4


class OpeningFailed(Exception):
    """The accounts could not be opened, so there is nothing to run a load on."""


async def open_accounts(target: str, source: OpeningSource, on_commit: Callable[[], None]) -> Outcome:
    """Submit all opening frames; ``on_commit`` is called at every receipt. Raises :class:`OpeningFailed`.

    Accounts that are there already stay as they are: a load may be run again on the same node.
    """
    flow = flow_options(_IN_FLIGHT, OPENING_FRAME)
    retry = RetryOptions(deadline_s=ANSWER_DEADLINE_S)
    async with AsyncClient(target, client_id=source.client_id, next_sequence=1, flow=flow, retry=retry) as client:
        recorder = Recorder(client)

        async def submit(number: int) -> None:
            if await recorder.submit(number, *source.frame(number), 0, 0):
                on_commit()

        # The client sends them in this order, so that every account is open before money goes to it.
        await asyncio.gather(*(submit(number) for number in range(source.frames)))
    outcome = recorder.outcome(source.client_id)
    if (outcome.receipts["outcome"] != ACCEPTED).any():
        raise OpeningFailed(f"could not open {source.workload.accounts} accounts at {target}: {outcome.first_error}")
    return outcome
