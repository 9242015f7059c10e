"""Holds a log against what the clients were told, what they sent, and what the node says its state is.

Everything is worked out again from the log's bytes: by ``compiled_model`` at a speed that keeps up with any run, and
besides by the plain ``reference_model``, all of a short log and the beginning of a long one.

A check must not outlast the run it checks, so three things run side by side: the thread that reads the log ahead, the
compiled checks here, about 20 ns per transaction, and the process of the plain model. The disk is the slowest of them.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from loadtest.load.frame_outcomes import ACCEPTED, OK, Receipts, results_digest
from loadtest.load.frame_source import U8Array, U64Array
from loadtest.verify.compiled_model import Recomputation, TooGeneral
from loadtest.verify.log_parser import LogBlock, LogUnreadable, read_blocks
from loadtest.verify.prefix_check import Beginning
from loadtest.verify.reference_model import Model

MODEL_TRANSACTIONS_MAX: Final = 1_000_000
"""Longer logs are held against the plain model only in their beginning, or the check would outlast the run."""
_BEGINNING: Final = 250_000
_PROBLEMS_SHOWN: Final = 20
_PROGRESS_STEP: Final = 1_000_000
_COMPARED: Final = ["frame", "count", "first_position", "results_digest", "succeeded"]


class Source(Protocol):
    """Knows a client's frames."""

    @property
    def client_id(self) -> int:
        """Whose frames they are."""

    def difference(self, number: int, records: U64Array, payloads: U8Array) -> str:
        """Hold ``records``, ``uint64[n, 8]``, and payloads against frame ``number``.

        Answers "records" or "payloads" where these are others, else "".
        """


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one client has to show: what its frames were, and a row for each that it sent."""

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
    on_progress: Callable[[int], None] = lambda _transactions: None,
) -> Verification:
    """Check a log, directory of its segments, of a node that runs or has stopped.

    ``on_progress`` is given the number of transactions checked so far, about once in a million. Never raises for what
    the log holds: a damaged log is a problem of the verdict.
    """
    verdict = Verification()
    started = time.perf_counter()
    try:
        receipts = _ReceiptCheck(verdict, evidence)
        length = max(verdict.acknowledged, node.transactions if node else 0)
        is_long = length > model_transactions_max
        with ExitStack() as stack:
            beginning = None
            if is_long and model_transactions_max:
                beginning = stack.enter_context(closing(Beginning(directory, min(_BEGINNING, model_transactions_max))))
            results = _Recount(verdict, node, model_transactions_max, beginning)
            shown = 0
            for block in stack.enter_context(closing(read_blocks(directory))):
                receipts.check(block, results.apply(block))
                if verdict.transactions - shown >= _PROGRESS_STEP:
                    shown = verdict.transactions
                    on_progress(shown)
            results.finish()
        receipts.finish(results)
    except (LogUnreadable, TooGeneral) as error:
        verdict.problem(str(error))
    verdict.seconds = time.perf_counter() - started
    return verdict


class _Recount:
    """Recomputes results by both means, the plain one as far as it can keep up, and compares the digests."""

    def __init__(
        self, verdict: Verification, node: NodeDigests | None, plain_max: int, beginning: Beginning | None
    ) -> None:
        self._verdict = verdict
        self._node = node
        self._fast: Recomputation | None = Recomputation()
        self._beginning = beginning
        self._plain: Model | None = None if beginning is not None else Model()
        self._plain_max = plain_max
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
                if self._beginning is not None:
                    self._beginning.add(block, results, self._fast.effects_digest)
            except TooGeneral as error:
                self._fast, self._too_general = None, str(error)
        if self._plain is not None and verdict.transactions > self._plain_max:
            self._plain = None
            self._note_beginning(self._plain_end)
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
        if self._beginning is not None:
            transactions, difference = self._beginning.finish()
            self._note_beginning(transactions)
            if difference:
                verdict.problem(f"{difference}: the two recomputations differ, so one of them is wrong")
        verdict.checks.append("money conserved")
        if self._node is not None and self._node.applied_index and not self._node_met:
            verdict.problem(f"the node has applied block {self._node.applied_index}, which the log does not hold")

    def fresh(self, client_id: int) -> int | None:
        """Transactions of a client that took their turn for the first time, where known."""
        return self._fast.fresh(client_id) if self._fast is not None else None

    def _note_beginning(self, transactions: int) -> None:
        if transactions:
            self._verdict.checks.append(f"the first {transactions:,} results recomputed by the plain model")

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
        self._accepted: list[tuple[Source, Receipts, U64Array]] = []
        """Of each client, what was accepted in the order of the log, and the column to find a block's receipts by."""
        for client in evidence:
            accepted = client.receipts[client.receipts["outcome"] == ACCEPTED]
            accepted = accepted[np.argsort(accepted["log_index"], kind="stable")]
            self._accepted.append((client.source, accepted[_COMPARED], accepted["log_index"].copy()))
            verdict.receipts += len(accepted)
            verdict.acknowledged += int(accepted["count"].sum())
            if len(np.unique(accepted["frame"])) != len(accepted):
                verdict.problem(f"client {client.source.client_id} has two receipts for one frame")

    def check(self, block: LogBlock, results: U8Array) -> None:
        """Check all receipts for ``block``."""
        records = np.frombuffer(block.records, np.uint64).reshape(-1, 8)
        payloads = np.frombuffer(block.payloads, np.uint8)
        ends = np.concatenate(([0], np.cumsum(records[:, 7] >> np.uint64(32)))) if len(payloads) else None
        for source, accepted, indexes in self._accepted:
            first, last = np.searchsorted(indexes, [block.index, block.index + 1])
            for frame, count, position, digest, succeeded in accepted[first:last].tolist():
                start = position - block.first_position
                end = start + count
                problems = []
                if not 0 <= start < end <= block.count:
                    problems.append(f"block {block.index} does not hold these positions")
                else:
                    logged = payloads if ends is None else payloads[int(ends[start]) : int(ends[end])]
                    if difference := source.difference(frame, records[start:end], logged):
                        problems.append(f"the log holds other {difference} than were sent")
                    told = results[start:end]
                    if results_digest(told) != digest:
                        problems.append("the receipt's results are not the recomputed ones")
                    if (recomputed := np.count_nonzero(told == OK)) != succeeded:
                        problems.append(f"the receipt counts {succeeded} successes, recomputed are {recomputed}")
                for problem in problems:
                    name = f"frame {frame} of client {source.client_id}, at position {position}"
                    self._verdict.problem(f"{name}: {problem}")

    def finish(self, recount: _Recount) -> None:
        """Every receipt must have met its block, and nothing may have taken effect more often than it was sent."""
        verdict = self._verdict
        named = [indexes[(indexes < 1) | (indexes > verdict.blocks)] for _, _, indexes in self._accepted]
        lost, receipts = np.unique(np.concatenate(named), return_counts=True) if named else ((), ())
        for index, count in zip(lost, receipts, strict=True):
            verdict.problem(f"block {index}, named by {count} receipts, is not in the log: acknowledged and lost")
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
