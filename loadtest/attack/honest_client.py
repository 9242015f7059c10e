"""Honest client: submits what it knows the answer to, reads back what it knows to be there, and watches.

Each lane has keys of its own and one call at a time, so its next answer and every read of its keys are known
beforehand, whatever happens to other keys. Where an answer did not come, the lane asks again under the same key until
one does: it must be the first one's.
"""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Final

from loadtest.attack.findings import Findings
from penstock.client.async_client import AsyncClient
from penstock.client.errors import ClientClosed, OutcomeUnknown, PenstockError
from penstock.client.keys import AccountKey, CounterKey, ValueKey
from penstock.client.operations import Add, OpenAccount, Operation, Put, Transfer
from penstock.client.options import RetryOptions
from penstock.client.results import Result, ResultCode
from penstock.contract.target import status_target

NAMESPACE: Final = 40_000
"""Of all honest keys; no hostile process writes there."""
LANES: Final = 8
_DEADLINE_S: Final = 15.0
_LATE_S: Final = 5.0
"""A call that takes so much longer than its deadline is hung."""
_PAUSE_S: Final = 0.05
_READ_EVERY: Final = 5
_STATUS_S: Final = 3.0
_LOOK_S: Final = 0.1
_OVERDRAFT: Final = 1 << 64


@dataclass(slots=True)
class _Lane:
    """Keys of one lane, and what they hold."""

    number: int
    random: Random
    value: bytes | None = None
    counter: int = 0
    balance: int = 0
    done: int = 0

    @property
    def account(self) -> int:
        """The lane's account."""
        return self.number + 1

    @property
    def key(self) -> bytes:
        """The key of its value and its counter: long in every other lane."""
        return f"lane {self.number}".encode() + b"." * (100 * (self.number % 2))

    def next(self) -> tuple[Operation, ResultCode]:
        """An operation, and the answer that it must get."""
        choice, amount = self.random.randrange(4), self.random.randrange(1, 100)
        if choice == 0:
            return Put(self.key, self.random.randbytes(amount), NAMESPACE), ResultCode.OK
        if choice == 1:
            return Add(self.key, amount, namespace=NAMESPACE), ResultCode.OK
        if choice == 2:
            return Transfer(_OVERDRAFT, self.account, amount, NAMESPACE), ResultCode.OK
        expected = ResultCode.OK if amount <= self.balance else ResultCode.INSUFFICIENT_FUNDS
        return Transfer(self.account, _OVERDRAFT, amount, NAMESPACE), expected

    def took_effect(self, operation: Operation) -> None:
        """Change what the keys hold."""
        match operation:
            case Put():
                self.value = bytes(operation.value)
            case Add():
                self.counter += operation.amount
            case Transfer() if operation.debit == _OVERDRAFT:
                self.balance += operation.amount
            case Transfer():
                self.balance -= operation.amount


class _CallHangs(Exception):
    """Whether a lane's operation took effect stays unknown, so nothing more can be said of its keys."""


class HonestClient:
    """A client of the node at ``target`` that keeps books."""

    def __init__(self, target: str, findings: Findings, seed: int) -> None:
        self._findings = findings
        self._lanes = [_Lane(number, Random(seed * LANES + number)) for number in range(LANES)]
        self._status_at = status_target(target) or target
        self._client = AsyncClient(target, retry=RetryOptions(deadline_s=_DEADLINE_S))
        self._stopping = asyncio.Event()
        self._acknowledged = 0
        self._seen: Counter[int] = Counter()
        self._seen_index = 0

    async def run(self) -> None:
        """Work until :meth:`stop`; then compare everything once more."""
        others = [asyncio.create_task(self._watch()), asyncio.create_task(self._look())]
        try:
            for account in (_OVERDRAFT, *(lane.account for lane in self._lanes)):
                operation = OpenAccount(account, overdraft=account == _OVERDRAFT, namespace=NAMESPACE)
                await self._submit(operation, ResultCode.OK)
            await asyncio.gather(*(self._work(lane) for lane in self._lanes))
            await self._finish_watching()
        finally:
            for other in others:
                other.cancel()
            await asyncio.wait(others)
            await self._client.close()

    def stop(self) -> None:
        """Have the lanes end after their calls."""
        self._stopping.set()

    async def _work(self, lane: _Lane) -> None:
        with suppress(_CallHangs):
            await self._work_until_stopped(lane)
            await self._read_back(lane)

    async def _work_until_stopped(self, lane: _Lane) -> None:
        while not self._stopping.is_set():
            operation, expected = lane.next()
            if await self._submit(operation, expected):
                lane.took_effect(operation)
            lane.done += 1
            if lane.done % _READ_EVERY == 0:
                await self._read_back(lane)
            await asyncio.sleep(_PAUSE_S * lane.random.random())

    async def _submit(self, operation: Operation, expected: ResultCode) -> bool:
        """Submit, and compare the answer; returns whether the operation took effect."""
        sequence: int | None = None
        while True:
            started = time.monotonic()
            try:
                async with asyncio.timeout(_DEADLINE_S + _LATE_S):
                    result = await self._client.submit(operation, sequence=sequence)
            except TimeoutError:
                self._findings.harmed("late call", f"{type(operation).__name__} has no end after its deadline")
                raise _CallHangs from None
            except OutcomeUnknown as error:
                self._findings.failed("submit", error, started)
                sequence = error.first_sequence
            except ClientClosed:
                raise
            except Exception as error:
                self._findings.failed("submit", error, started)
                if sequence is None and isinstance(error, PenstockError):
                    return False  # refused: nothing took effect
                await asyncio.sleep(_PAUSE_S)
            else:
                self._findings.answered(started)
                return self._compare(operation, expected, result)

    def _compare(self, operation: Operation, expected: ResultCode, result: Result) -> bool:
        if result.code is not expected:
            text = f"{type(operation).__name__} was answered {result.code.name}, not {expected.name}"
            self._findings.harmed("wrong answer", text)
        if result.ok:
            self._acknowledged += 1
        return result.ok

    async def _read_back(self, lane: _Lane) -> None:
        keys = [ValueKey(lane.key, NAMESPACE), CounterKey(lane.key, NAMESPACE), AccountKey(lane.account, NAMESPACE)]
        started = time.monotonic()
        try:
            async with asyncio.timeout(_DEADLINE_S + _LATE_S):
                value, counter, account = await self._client.read_many(keys)
        except TimeoutError:
            self._findings.harmed("late call", "a read has no end after its deadline")
            return
        except Exception as error:
            self._findings.failed("read", error, started)
            return
        self._findings.answered(started)
        found = (value.value if value.found else None, counter.amount, account.amount)
        known = (lane.value, lane.counter, lane.balance)
        for name, was, should in zip(("value", "counter", "balance"), found, known, strict=True):
            if was != should:
                self._findings.harmed("wrong read", f"lane {lane.number}: the {name} is {was!r}, not {should!r}")

    async def _watch(self) -> None:
        """Follow all honest transactions that took effect, from the first block on, through every outage."""
        while True:
            started = time.monotonic()
            try:
                blocks = self._client.watch(self._seen_index + 1, namespaces=(NAMESPACE,), effective_only=True)
                async for block in blocks:
                    if block.log_index <= self._seen_index:
                        self._findings.harmed("wrong read", f"the watch gave block {block.log_index} again")
                    self._seen_index = block.log_index
                    ours = block.records["client_id"] == self._client.client_id
                    for sequence in block.records["sequence"][ours].tolist():
                        self._seen[sequence] += 1
                        if self._seen[sequence] > 1:
                            self._findings.harmed("repeated transaction", f"sequence {sequence} took effect again")
            except Exception as error:
                self._findings.failed("watch", error, started)
            await asyncio.sleep(_PAUSE_S)

    async def _look(self) -> None:
        """Ask for the node's status, which is told whatever is done to it."""
        async with AsyncClient(self._status_at, retry=RetryOptions(deadline_s=_STATUS_S)) as client:
            while True:
                started = time.monotonic()
                try:
                    await client.status()
                    self._findings.honest["statuses"] += 1
                except Exception as error:
                    self._findings.failed("status", error, started)
                await asyncio.sleep(_LOOK_S)

    async def _finish_watching(self) -> None:
        """Wait until the watch has met the last transaction, and compare the number."""
        for _ in range(int(_DEADLINE_S / _PAUSE_S)):
            if sum(self._seen.values()) >= self._acknowledged:
                break
            await asyncio.sleep(_PAUSE_S)
        seen = sum(self._seen.values())
        if seen < self._acknowledged:
            text = f"{self._acknowledged} were acknowledged, the watch has met {seen}"
            self._findings.harmed("lost transaction", text)
        self._findings.honest["acknowledged"] = self._acknowledged
        self._findings.honest["watched"] = seen
