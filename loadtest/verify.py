"""Holds a log against what the clients were told, what they sent, and what the node says its state is.

Everything is worked out again from the log's bytes: by :mod:`loadtest.recompute` at a speed that keeps up with any run,
and besides by the plain :mod:`loadtest.model`, all of a short log and the beginning of a long one.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from loadtest.generate import U8Array, U64Array
from loadtest.logfile import LogBlock, LogUnreadable, read_blocks
from loadtest.model import Model
from loadtest.receipts import ACCEPTED, Receipts, results_digest
from loadtest.recompute import Recomputation, TooGeneral

MODEL_TRANSACTIONS_MAX: Final = 1_000_000
"""Longer logs are held against the plain model only in their beginning, or the check would outlast the run."""
_BEGINNING: Final = 250_000
_PROBLEMS_SHOWN: Final = 20
_NO_PAYLOADS: Final = np.empty(0, np.uint8)


class Source(Protocol):
    """Can make a client's frames again."""

    @property
    def client_id(self) -> int:
        """Whose frames they are."""

    def frame(self, number: int) -> tuple[U64Array, U8Array]:
        """Frame ``number``: its records, ``uint64[n, 8]``, and its payloads. Valid until the next call."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one client has to show: how to make its frames again, and a row for each that it sent."""

    source: Source
    receipts: Receipts


@dataclass(frozen=True, slots=True)
class NodeDigests:
    """What the node said of itself, all as of ``applied_index``; ``state_digest`` is 0 where it was not asked."""

    applied_index: int
    effects_digest: int
    state_digest: int = 0
    transactions: int = 0


@dataclass(slots=True)
class Verification:
    """The verdict. ``checks`` lists what was compared, ``problems`` what did not hold (the first 20)."""

    transactions: int = 0
    blocks: int = 0
    receipts: int = 0
    acknowledged: int = 0
    seconds: float = 0.0
    effects_digest: int = 0
    checks: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0

    @property
    def verified(self) -> bool:
        """Whether all checks held."""
        return self.problem_count == 0 and bool(self.checks)

    def problem(self, text: str) -> None:
        """Note what does not hold."""
        self.problem_count += 1
        if len(self.problems) < _PROBLEMS_SHOWN:
            self.problems.append(text)


def verify_log(
    directory: Path,
    evidence: Sequence[Evidence] = (),
    node: NodeDigests | None = None,
    *,
    model_transactions_max: int = MODEL_TRANSACTIONS_MAX,
) -> Verification:
    """Check a log, directory of its segments, of a node that runs or has stopped.

    Never raises for what the log holds: a damaged log is a problem of the verdict.
    """
    verdict = Verification()
    started = time.perf_counter()
    try:
        receipts = _ReceiptCheck(verdict, evidence)
        length = max(verdict.acknowledged, node.transactions if node else 0)
        is_long = length > model_transactions_max
        results = _Recount(
            verdict, node, min(_BEGINNING, model_transactions_max) if is_long else model_transactions_max
        )
        for block in read_blocks(directory):
            receipts.check(block, results.apply(block))
        results.finish()
        receipts.finish(results)
    except (LogUnreadable, TooGeneral) as error:
        verdict.problem(str(error))
    verdict.seconds = time.perf_counter() - started
    return verdict


class _Recount:
    """Recomputes results by both means, drops the plain one when the log gets long, and compares the digests."""

    def __init__(self, verdict: Verification, node: NodeDigests | None, model_transactions_max: int) -> None:
        self._verdict = verdict
        self._node = node
        self._fast: Recomputation | None = Recomputation()
        self._plain: Model | None = Model()
        self._plain_max = model_transactions_max
        self._plain_end = 0
        self._too_general = ""
        self._node_met = False

    def apply(self, block: LogBlock) -> U8Array:
        """The results of a block's transactions."""
        verdict = self._verdict
        verdict.blocks += 1
        verdict.transactions += block.count
        results = None
        if self._fast is not None:
            try:
                results = self._fast.apply(block)
            except TooGeneral as error:
                self._fast, self._too_general = None, str(error)
        if self._plain is not None and verdict.transactions > self._plain_max:
            self._plain = None
            if self._plain_end:
                verdict.checks.append(f"the first {self._plain_end:,} results recomputed by the plain model")
        if self._plain is not None:
            position, time_ns = block.first_position, block.time_ns
            plain = self._plain.apply(bytes(block.records), bytes(block.payloads), position, time_ns)
            if results is not None and results.tobytes() != plain:
                verdict.problem(f"block {block.index}: the two recomputations differ, so one of them is wrong")
            results = np.frombuffer(plain, np.uint8)
            self._plain_end = block.first_position + block.count
        if results is None:
            raise TooGeneral(f"{self._too_general}, and the plain model takes {self._plain_max} transactions at most")
        state = self._fast or self._plain
        assert state is not None
        verdict.effects_digest = state.effects_digest
        if self._node is not None and self._node.applied_index == block.index:
            self._compare_with_node(self._node, state)
        return results

    def finish(self) -> None:
        """Checks of the whole."""
        verdict = self._verdict
        if self._fast is not None:
            verdict.checks.append("all results recomputed by dense arrays")
            for problem in self._fast.money_problems():
                verdict.problem(problem)
        if self._plain is not None:
            verdict.checks.append("all results recomputed by the plain model")
            if self._plain.money():
                verdict.problem(f"all balances together are {self._plain.money()}, not 0: money was made or lost")
            if self._fast is not None and self._plain.state_digest() != self._fast.state_digest():
                verdict.problem("the two recomputations reach different states, so one of them is wrong")
        verdict.checks.append("money conserved")
        if self._node is not None and self._node.applied_index and not self._node_met:
            verdict.problem(f"the node has applied block {self._node.applied_index}, which the log does not hold")

    def fresh(self, client_id: int) -> int | None:
        """Transactions of a client that took their turn for the first time, where known."""
        return self._fast.fresh(client_id) if self._fast is not None else None

    def _compare_with_node(self, node: NodeDigests, state: Recomputation | Model) -> None:
        verdict = self._verdict
        self._node_met = True
        if node.effects_digest == verdict.effects_digest:
            verdict.checks.append("the node's digest of effects")
        else:
            verdict.problem(
                f"the node's digest of effects at block {node.applied_index} is {node.effects_digest:016x}, "
                f"recomputed {verdict.effects_digest:016x}"
            )
        if node.state_digest:
            digest = state.state_digest()
            if node.state_digest == digest:
                verdict.checks.append("the node's digest of the whole state")
            else:
                verdict.problem(f"the node's state digest is {node.state_digest:016x}, recomputed {digest:016x}")


class _ReceiptCheck:
    """Compares every receipt with the block that it names: same records as were sent, same results as recomputed."""

    def __init__(self, verdict: Verification, evidence: Sequence[Evidence]) -> None:
        self._verdict = verdict
        self._evidence = evidence
        self._by_block: dict[int, list[tuple[Source, np.void]]] = {}
        for client in evidence:
            accepted = client.receipts[client.receipts["outcome"] == ACCEPTED]
            verdict.receipts += len(accepted)
            verdict.acknowledged += int(accepted["count"].sum())
            if len(np.unique(accepted["frame"])) != len(accepted):
                verdict.problem(f"client {client.source.client_id} has two receipts for one frame")
            for row in accepted:
                self._by_block.setdefault(int(row["log_index"]), []).append((client.source, row))

    def check(self, block: LogBlock, results: U8Array) -> None:
        """Check all receipts for ``block``."""
        receipts = self._by_block.pop(block.index, ())
        if not receipts:
            return
        records = np.frombuffer(block.records, np.uint64).reshape(-1, 8)
        lengths = np.concatenate(([0], np.cumsum(records[:, 7] >> np.uint64(32)))) if len(block.payloads) else None
        payloads = np.frombuffer(block.payloads, np.uint8)
        for source, row in receipts:
            start = int(row["first_position"]) - block.first_position
            end = start + int(row["count"])
            name = f"frame {row['frame']} of client {source.client_id}, at position {row['first_position']}"
            if not 0 <= start < end <= block.count:
                self._verdict.problem(f"{name}: block {block.index} does not hold these positions")
                continue
            sent, sent_payloads = source.frame(int(row["frame"]))
            if not np.array_equal(sent, records[start:end]):
                self._verdict.problem(f"{name}: the log holds other records than were sent")
            logged = payloads[int(lengths[start]) : int(lengths[end])] if lengths is not None else _NO_PAYLOADS
            if not np.array_equal(sent_payloads, logged):
                self._verdict.problem(f"{name}: the log holds other payloads than were sent")
            if results_digest(results[start:end]) != int(row["results_digest"]):
                self._verdict.problem(f"{name}: the receipt's results are not the recomputed ones")

    def finish(self, recount: _Recount) -> None:
        """Every receipt must have met its block, and nothing may have taken effect more often than it was sent."""
        verdict = self._verdict
        for index, receipts in sorted(self._by_block.items()):
            verdict.problem(
                f"block {index}, named by {len(receipts)} receipts, is not in the log: acknowledged and lost"
            )
        for client in self._evidence:
            fresh = recount.fresh(client.source.client_id)
            sent = int(client.receipts["count"].sum())
            acknowledged = int(client.receipts["count"][client.receipts["outcome"] == ACCEPTED].sum())
            if fresh is not None and not acknowledged <= fresh <= sent:
                verdict.problem(
                    f"client {client.source.client_id} sent {sent} transactions and has receipts for {acknowledged}, "
                    f"but {fresh} were applied"
                )
        if self._evidence:
            verdict.checks.append("every acknowledged transaction in the log exactly once, as sent and as answered")
