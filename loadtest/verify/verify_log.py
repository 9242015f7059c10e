"""Verification of a log: compares it with what the clients sent and were told, and with the node's digests.

All results are recomputed from the log's bytes: by ``compiled_model``, which keeps up with any run, and by
``reference_model``, which takes all of a short log and the first transactions of a long one.

Verification must not outlast the run that it verifies, so three things run side by side: the thread that reads the log
ahead, the compiled checks here (about 45 ns per transaction), and the process of the reference model. The disk is the
slowest of them.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from loadtest.load.frame_outcomes import ACCEPTED, OK, FrameOutcomes, results_digest
from loadtest.load.frame_source import U8Array, U64Array
from loadtest.verify.compiled_model import CompiledModel, UnsupportedTransaction
from loadtest.verify.log_metadata import first_bounds
from loadtest.verify.log_parser import LogBlock, LogUnreadable, read_blocks
from loadtest.verify.prefix_check import PrefixCheck
from loadtest.verify.reference_model import ReferenceModel
from loadtest.verify.session_ledger import SessionBounds

MODEL_TRANSACTIONS_MAX: Final = 1_000_000
"""Of longer logs the reference model applies a prefix only, or the verification would outlast the run."""
_PREFIX_TRANSACTIONS: Final = 250_000
_PROBLEMS_SHOWN: Final = 20
_PROGRESS_STEP: Final = 1_000_000
_COMPARED: Final = ["frame", "count", "first_position", "results_digest", "succeeded"]


class Source(Protocol):
    """Knows a client's frames."""

    @property
    def client_id(self) -> int:
        """Whose frames they are."""

    def difference(self, number: int, records: U64Array, payloads: U8Array) -> str:
        """Compare ``records``, ``uint64[n, 8]``, and payloads with frame ``number``.

        Returns "records" or "payloads" where these differ, else "".
        """


@dataclass(frozen=True, slots=True)
class Evidence:
    """One client's side: its frames, and the outcome of each that it sent."""

    source: Source
    frames: FrameOutcomes


@dataclass(frozen=True, slots=True)
class NodeDigests:
    """What the node reports, all as of ``applied_index``; ``state_digest`` is 0 where it was not asked for."""

    applied_index: int
    effects_digest: int
    state_digest: int = 0
    transactions: int = 0


@dataclass(slots=True)
class Verification:
    """The verdict. ``checks`` lists what was compared, ``problems`` the first 20 violations."""

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
        """Record a violation."""
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
    """Check a log, given the directory of its segments, of a node that runs or has stopped.

    ``on_progress`` is given the number of transactions checked so far, about once in a million. Never raises for what
    the log holds: a damaged log is a problem of the verdict.
    """
    verdict = Verification()
    started = time.perf_counter()
    try:
        receipts = _ReceiptCheck(verdict, evidence)
        bounds = first_bounds(directory)
        length = max(verdict.acknowledged, node.transactions if node else 0)
        is_long = length > model_transactions_max
        with ExitStack() as stack:
            prefix = None
            if is_long and model_transactions_max:
                prefix = stack.enter_context(
                    closing(PrefixCheck(directory, min(_PREFIX_TRANSACTIONS, model_transactions_max), bounds))
                )
            results = _ResultCheck(verdict, node, model_transactions_max, prefix, bounds)
            shown = 0
            for block in stack.enter_context(closing(read_blocks(directory))):
                receipts.check(block, results.apply(block))
                if verdict.transactions - shown >= _PROGRESS_STEP:
                    shown = verdict.transactions
                    on_progress(shown)
            results.finish()
        receipts.finish(results)
    except (LogUnreadable, UnsupportedTransaction) as error:
        verdict.problem(str(error))
    verdict.seconds = time.perf_counter() - started
    return verdict


class _ResultCheck:
    """Recomputes all results by both models, by the reference model as far as it keeps up, and compares the digests."""

    def __init__(
        self,
        verdict: Verification,
        node: NodeDigests | None,
        reference_max: int,
        prefix: PrefixCheck | None,
        bounds: SessionBounds,
    ) -> None:
        self._verdict = verdict
        self._node = node
        self._compiled: CompiledModel | None = CompiledModel(bounds=bounds)
        self._prefix = prefix
        self._reference: ReferenceModel | None = None if prefix is not None else ReferenceModel(bounds)
        self._reference_max = reference_max
        self._reference_end = 0
        self._unsupported = ""
        self._node_met = False

    def apply(self, block: LogBlock) -> U8Array:
        """The results of a block's transactions."""
        verdict = self._verdict
        verdict.blocks += 1
        verdict.transactions += block.count
        results = None
        if self._compiled is not None:
            try:
                results = self._compiled.apply(block)
                if self._prefix is not None:
                    self._prefix.add(block, results, self._compiled.effects_digest)
            except UnsupportedTransaction as error:
                self._compiled, self._unsupported = None, str(error)
        if self._reference is not None and verdict.transactions > self._reference_max:
            self._reference = None
            self._note_prefix(self._reference_end)
        if self._reference is not None:
            position, time_ns = block.first_position, block.time_ns
            expected = self._reference.apply(bytes(block.records), bytes(block.payloads), position, time_ns)
            if results is not None and results.tobytes() != expected:
                verdict.problem(f"block {block.index}: the two recomputations differ, so one of them is wrong")
            results = np.frombuffer(expected, np.uint8)
            self._reference_end = block.first_position + block.count
        if results is None:
            raise UnsupportedTransaction(
                f"{self._unsupported}, and the plain model takes {self._reference_max} transactions at most"
            )
        state = self._compiled or self._reference
        assert state is not None
        verdict.effects_digest = state.effects_digest
        if self._node is not None and self._node.applied_index == block.index:
            self._compare_with_node(self._node, state)
        return results

    def finish(self) -> None:
        """Check invariants of the whole log."""
        verdict = self._verdict
        if self._compiled is not None:
            verdict.checks.append("all results recomputed by dense arrays")
            for problem in self._compiled.money_problems():
                verdict.problem(problem)
        if self._reference is not None:
            verdict.checks.append("all results recomputed by the plain model")
            if self._reference.money():
                verdict.problem(f"all balances together are {self._reference.money()}, not 0: money was made or lost")
            if self._compiled is not None and self._reference.state_digest() != self._compiled.state_digest():
                verdict.problem("the two recomputations reach different states, so one of them is wrong")
        if self._prefix is not None:
            transactions, difference = self._prefix.finish()
            self._note_prefix(transactions)
            if difference:
                verdict.problem(f"{difference}: the two recomputations differ, so one of them is wrong")
        verdict.checks.append("money conserved")
        if self._node is not None and self._node.applied_index and not self._node_met:
            verdict.problem(f"the node has applied block {self._node.applied_index}, which the log does not hold")

    def executed(self, client_id: int) -> int | None:
        """Transactions of a client that were executed; None where only the compiled model would know."""
        return self._compiled.executed(client_id) if self._compiled is not None else None

    def _note_prefix(self, transactions: int) -> None:
        if transactions:
            self._verdict.checks.append(f"the first {transactions:,} results recomputed by the plain model")

    def _compare_with_node(self, node: NodeDigests, state: CompiledModel | ReferenceModel) -> None:
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
    """Compares every receipt with its block: the records must be those sent, the results those recomputed."""

    def __init__(self, verdict: Verification, evidence: Sequence[Evidence]) -> None:
        self._verdict = verdict
        self._evidence = evidence
        self._accepted: list[tuple[Source, FrameOutcomes, U64Array]] = []
        """Of each client: its accepted frames in the order of the log, and their ``log_index`` column to search in."""
        for client in evidence:
            accepted = client.frames[client.frames["outcome"] == ACCEPTED]
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

    def finish(self, results: _ResultCheck) -> None:
        """Check that every receipt met its block, and that nothing was executed more often than it was sent."""
        verdict = self._verdict
        named = [indexes[(indexes < 1) | (indexes > verdict.blocks)] for _, _, indexes in self._accepted]
        lost, receipts = np.unique(np.concatenate(named), return_counts=True) if named else ((), ())
        for index, count in zip(lost, receipts, strict=True):
            verdict.problem(f"block {index}, named by {count} receipts, is not in the log: acknowledged and lost")
        for client in self._evidence:
            executed = results.executed(client.source.client_id)
            sent = int(client.frames["count"].sum())
            acknowledged = int(client.frames["count"][client.frames["outcome"] == ACCEPTED].sum())
            if executed is not None and not acknowledged <= executed <= sent:
                verdict.problem(
                    f"client {client.source.client_id} sent {sent} transactions and has receipts for {acknowledged}, "
                    f"but {executed} were applied"
                )
        if self._evidence:
            verdict.checks.append("every acknowledged transaction in the log exactly once, as sent and as answered")
