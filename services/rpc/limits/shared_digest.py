"""Shared digest: the digest of the whole state, computed once for all who ask for it at about the same time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, NamedTuple

from statestore.state_machine import StateMachine

_PAUSE_FACTOR: Final = 9.0
"""Times as long as the last digest took nobody may ask for another: the applier gives them a tenth of its time."""
_PAUSE_S_MAX: Final = 5.0


class StateAt(NamedTuple):
    """The state at one moment, between two blocks."""

    applied_index: int
    applied_position: int
    effects_digest: int
    state_digest: int


class SharedDigest:
    """Has digests computed one at a time. Lives in the event loop.

    Whoever asks gets a digest that was begun after it asked, so it covers all that it had an answer to.
    """

    def __init__(self, query: Callable[[Callable[[StateMachine], Any]], "Future[Any]"]) -> None:
        """Ask the state by ``query``."""
        self._query = query
        self._waited_for: asyncio.Task[StateAt] | None = None
        self._computing = asyncio.Lock()
        self._not_before_s = 0.0

    async def get(self) -> StateAt:
        """Give the state's digest, and what it is of; it may take a while where others asked before.

        Raises:
            ChannelClosed: the pipeline has ended.
        """
        if self._waited_for is None:
            self._waited_for = asyncio.create_task(self._compute())
        return await asyncio.shield(self._waited_for)  # who gives up takes it from nobody else

    async def _compute(self) -> StateAt:
        loop = asyncio.get_running_loop()
        async with self._computing:
            try:
                await asyncio.sleep(self._not_before_s - loop.time())
            finally:
                self._waited_for = None  # who asks from here on may have seen what this one will not cover
            taken: StateAt
            begun_s, taken = await asyncio.wrap_future(self._query(lambda state: (loop.time(), _take(state))))
            self._not_before_s = loop.time() + min(_PAUSE_S_MAX, _PAUSE_FACTOR * (loop.time() - begun_s))
            return taken


def _take(state: StateMachine) -> StateAt:
    return StateAt(state.applied_index, state.applied_position, state.effects_digest, state.state_digest())
