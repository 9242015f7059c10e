"""The guard ends calls only where there is too much memory after giving back, and gives back when it is quiet."""

import asyncio
from collections.abc import Callable

from penstock.contract.reasons import Reason
from services.refusal import Refusal
from services.rpc.limits.memory_guard import MemoryGuard
from services.telemetry.conditions import Condition, Conditions
from services.telemetry.counters import Counter, Counters
from tests import virtual_time

MIB = 1 << 20


BYTES_MAX = 64 * MIB


class Process:
    """Memory of a process, some of which is free, and calls that hold 6 MiB each."""

    def __init__(self, calls: int = 0) -> None:
        self.needed = 100 * MIB
        self.free = 0
        self.calls = calls
        self.late = 0
        self.given_back = 0
        self.refusals: list[Refusal] = []

    def anonymous_bytes(self) -> int:
        return self.needed + self.free + self.calls * 6 * MIB

    def give_back(self) -> None:
        self.free = 0
        self.given_back += 1

    def __len__(self) -> int:
        return self.calls

    def cut(self, calls: int, refusal: Refusal) -> int:
        cut = min(calls, self.calls)
        self.calls -= cut
        self.free += cut * 6 * MIB
        self.refusals += [refusal] * cut
        return cut

    def cut_late_requests(self, refusal: Refusal) -> int:
        late, self.late = self.late, 0
        self.refusals += [refusal] * late
        return late


class Guarded:
    """A process with a guard."""

    def __init__(self) -> None:
        self.process = Process()
        self.counters = Counters()
        self.conditions = Conditions()
        self.guard = MemoryGuard(
            self.process,
            self.conditions,
            self.counters,
            BYTES_MAX,
            anonymous_bytes=self.process.anonymous_bytes,
            give_back=self.process.give_back,
        )


def guarded(deed: Callable[[Guarded], None], seconds: float = 5.0, *, frames: bool = False) -> Guarded:
    """Let a guard look at a process for some seconds after the deed, with or without frames on their way."""

    async def run() -> Guarded:
        made = Guarded()
        made.guard.start()
        deed(made)
        for _ in range(int(seconds / 0.05)):
            await asyncio.sleep(0.05)
            made.counters.add(Counter.FRAMES_RECEIVED, int(frames))
        await made.guard.stop()
        return made

    return virtual_time.run(run())


def test_as_many_calls_are_ended_as_there_is_too_much_memory_for_and_no_more() -> None:
    def hold(made: Guarded) -> None:
        made.process.calls = 100

    made = guarded(hold, frames=True)
    assert made.process.calls == BYTES_MAX // (6 * MIB)
    assert made.counters[Counter.CALLS_CUT] == 100 - made.process.calls
    assert {refusal.reason for refusal in made.process.refusals} == {Reason.MEMORY_LIMIT}
    assert Condition.MEMORY_SHORT in made.conditions


def test_free_memory_ends_no_call() -> None:
    def free(made: Guarded) -> None:
        made.process.calls = 5
        made.process.free = 500 * MIB

    made = guarded(free, frames=True)
    assert (made.process.calls, made.process.free) == (5, 0)
    assert Condition.MEMORY_SHORT not in made.conditions


def test_memory_is_given_back_once_it_is_quiet_and_not_while_frames_come() -> None:
    def use(made: Guarded) -> None:
        made.process.free = 40 * MIB

    assert guarded(use, frames=True).process.given_back == 0
    assert guarded(use).process.given_back == 1


def test_what_is_set_free_unseen_is_given_back_soon_by_few_attempts() -> None:
    async def run() -> Guarded:
        made = Guarded()
        made.guard.start()
        made.process.needed += 60 * MIB
        await asyncio.sleep(600)
        assert 55 <= made.process.given_back <= 65
        made.process.needed -= 60 * MIB
        made.process.free = 60 * MIB
        await asyncio.sleep(11)
        await made.guard.stop()
        return made

    assert virtual_time.run(run()).process.free == 0


def test_what_is_given_up_is_given_back_at_once_where_it_can_be_seen() -> None:
    async def run() -> Guarded:
        made = Guarded()
        made.guard.start()
        made.process.needed += 60 * MIB
        await asyncio.sleep(600)
        made.process.needed -= 40 * MIB
        made.process.free = 20 * MIB
        await asyncio.sleep(2)
        await made.guard.stop()
        return made

    assert virtual_time.run(run()).process.free == 0


def test_late_requests_are_ended_and_counted() -> None:
    def come_late(made: Guarded) -> None:
        made.process.late = 3

    made = guarded(come_late)
    assert [refusal.reason for refusal in made.process.refusals] == [Reason.REQUEST_LATE] * 3
    assert made.counters[Counter.CALLS_CUT] == 3
