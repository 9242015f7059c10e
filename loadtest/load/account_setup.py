"""Account setup: opens and funds the accounts that a load of transfers moves money between."""

import asyncio
from collections.abc import Callable

from loadtest.load.frame_outcomes import ACCEPTED
from loadtest.load.frame_source import SETUP_FRAME_RECORDS, AccountSetupSource
from loadtest.load.worker import ANSWER_DEADLINE_S, Recorder, WorkerResult, flow_options
from penstock.client.async_client import AsyncClient
from penstock.client.options import RetryOptions

_IN_FLIGHT = 4


class AccountSetupFailed(Exception):
    """The accounts could not be opened, so there is nothing to run a load on."""


async def open_accounts(target: str, source: AccountSetupSource, on_commit: Callable[[], None]) -> WorkerResult:
    """Submit all frames of the setup; ``on_commit`` is called at every receipt.

    Accounts that exist already stay as they are: a load may be run again on the same node.

    Raises:
        AccountSetupFailed: a frame got no receipt.
    """
    flow = flow_options(_IN_FLIGHT, SETUP_FRAME_RECORDS)
    retry = RetryOptions(deadline_s=ANSWER_DEADLINE_S)
    async with AsyncClient(target, client_id=source.client_id, next_sequence=1, flow=flow, retry=retry) as client:
        recorder = Recorder(client)

        async def submit(number: int) -> None:
            if await recorder.submit(number, *source.frame(number), 0, 0):
                on_commit()

        # The client sends them in this order, so that every account is open before money goes to it.
        await asyncio.gather(*(submit(number) for number in range(source.frames)))
    result = recorder.result(source.client_id)
    if (result.frames["outcome"] != ACCEPTED).any():
        raise AccountSetupFailed(
            f"could not open {source.workload.accounts} accounts at {target}: {result.first_error}"
        )
    return result
