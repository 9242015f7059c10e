"""Receipts: what clients were told, and whether log and state keep to it."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from penstock.contract.record import WORD_CLIENT, WORD_SEQUENCE
from penstock.contract.result_code import DUPLICATE, OK
from replication.log.block import Block
from simulation.cluster.wire import Receipt
from simulation.promises.violation import Rule, Violation

Key = tuple[int, int]
"""Client and sequence."""


class _Answered(NamedTuple):
    at_ns: int
    receipt: Receipt


class Receipts:
    """All submissions of a schedule's clients, and the answers to them."""

    def __init__(self) -> None:
        self._submitted: Final[dict[Key, int]] = {}
        self._answered: Final[dict[Key, _Answered]] = {}
        self._index_acknowledged: Final[list[tuple[int, int]]] = [(0, 0)]
        """Moments, and the highest index acknowledged by then."""
        self._counts: Final[dict[int, int]] = {}

    @property
    def count(self) -> int:
        """Transactions acknowledged."""
        return len(self._answered)

    def submitted(self, client: int, sequence: int, now_ns: int) -> None:
        """Take note of a key before it leaves its client for the first time."""
        self._submitted[client, sequence] = now_ns

    def acknowledged(self, client: int, receipt: Receipt, now_ns: int) -> None:
        """Take note of a receipt."""
        key = client, receipt.sequence
        assert key not in self._answered
        if receipt.result & ~DUPLICATE != OK:
            raise Violation(Rule.APPLIED_ONCE, f"transaction {key} was answered {receipt.result}")
        self._answered[key] = _Answered(now_ns, receipt)
        self._counts[client] = self._counts.get(client, 0) + 1
        if receipt.at_index > self._index_acknowledged[-1][1]:
            self._index_acknowledged.append((now_ns, receipt.at_index))

    def read(self, client: int, index: int, amount: int, started_ns: int) -> None:
        """Check what a client read, having asked at ``started_ns``."""
        known = next(known for at_ns, known in reversed(self._index_acknowledged) if at_ns <= started_ns)
        if index < known:
            raise Violation(
                Rule.READS_ARE_LATEST, f"client {client} read index {index}, {known} had been acknowledged before"
            )
        if amount != self._counts.get(client, 0):
            raise Violation(
                Rule.READS_ARE_LATEST, f"client {client} read {amount}, having added {self._counts.get(client, 0)}"
            )

    def check(self, blocks: Iterable[Block], counters: dict[int, int]) -> None:
        """Compare all receipts with the committed log, and its outcome by hand with the ``counters`` of a state."""
        first: dict[Key, tuple[int, int]] = {}
        sums: dict[int, int] = {}
        for block in blocks:
            for row, record in enumerate(block.records):
                key = int(record[WORD_CLIENT]), int(record[WORD_SEQUENCE])
                if key not in first:
                    first[key] = block.first_position + row, block.index
                    sums[key[0]] = sums.get(key[0], 0) + 1
        for client, amount in counters.items():
            if amount != sums.get(client, 0):
                raise Violation(
                    Rule.APPLIED_ONCE,
                    f"client {client} added {sums.get(client, 0)} by the log, and the state says {amount}",
                )
        for key, answered in self._answered.items():
            self._check_answer(key, answered.receipt, first.get(key))
        self._check_order({key: position for key, (position, _) in first.items()})

    def _check_answer(self, key: Key, receipt: Receipt, stands_at: tuple[int, int] | None) -> None:
        if stands_at is None:
            raise Violation(Rule.COMMITTED_SURVIVES, f"transaction {key} was acknowledged and is not in the log")
        if not receipt.result & DUPLICATE and (receipt.position, receipt.at_index) != stands_at:
            raise Violation(
                Rule.APPLIED_ONCE,
                f"transaction {key} was acknowledged at {receipt.position}, and took effect at {stands_at[0]}",
            )

    def _check_order(self, positions: dict[Key, int]) -> None:
        """Check that whatever was acknowledged before a key was first submitted stands before it."""
        answered = sorted((answer.at_ns, positions[key]) for key, answer in self._answered.items())
        highest, done = -1, 0
        for at_ns, key in sorted((at_ns, key) for key, at_ns in self._submitted.items() if key in positions):
            while done < len(answered) and answered[done][0] < at_ns:
                highest = max(highest, answered[done][1])
                done += 1
            if positions[key] <= highest:
                raise Violation(
                    Rule.ORDER_IS_REAL, f"transaction {key} stands at {positions[key]}, before {highest} known earlier"
                )
