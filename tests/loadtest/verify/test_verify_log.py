"""A right log is verified; each way of being wrong is found."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest

from loadtest.load.frame_outcomes import ACCEPTED, FRAME_OUTCOME, UNKNOWN, results_digest
from loadtest.load.frame_source import AccountSetupSource, FrameSource, U8Array, U64Array
from loadtest.load.workload import Workload
from loadtest.verify.compiled_model import CompiledModel
from loadtest.verify.log_parser import LogBlock
from loadtest.verify.reference_model import ReferenceModel
from loadtest.verify.session_ledger import SessionBounds
from loadtest.verify.verify_log import Evidence, NodeDigests, Verification, verify_log
from penstock.contract.result_code import SESSIONS_EXHAUSTED
from tests.loadtest.verify.transactions import LogWriter, body, record

WORKLOAD = Workload(accounts=700, frame=600, mix={"transfer": 8, "put": 1, "append": 1}, value_bytes=9)
CLIENT = 5


class FrameMaker(Protocol):
    """What a block can be made of."""

    @property
    def client_id(self) -> int: ...

    def frame(self, number: int) -> tuple[U64Array, U8Array]: ...


@dataclass
class Run:
    """A log made the right way, with the evidence for it; tests then spoil a part."""

    directory: Path
    log: LogWriter
    model: ReferenceModel
    opening: AccountSetupSource
    frames: FrameSource
    rows: dict[int, list[list[Any]]]

    def submit(
        self,
        *frames: tuple[FrameMaker, int],
        spoil: Callable[[bytearray], None] = lambda _: None,
        spoil_payloads: Callable[[bytearray], None] = lambda _: None,
    ) -> None:
        """Write one block of these frames, apply it, and keep a receipt of each."""
        records, payloads, counts = b"", b"", []
        for source, number in frames:
            made, carried = source.frame(number)
            records, payloads = records + made.tobytes(), payloads + carried.tobytes()
            counts.append(len(made))
        image, carried_image = bytearray(records), bytearray(payloads)
        spoil(image)
        spoil_payloads(carried_image)
        written = bytes(image), bytes(carried_image)
        position = self.log.position
        results = np.frombuffer(self.model.apply(*written, position, self.log.index + 1), np.uint8)
        index = self.log.append(*written, time_ns=self.log.index + 1)
        start = 0
        for (source, number), count in zip(frames, counts, strict=True):
            part = results[start : start + count]
            row = [number, count, ACCEPTED, 0, 0, 0, 0, index, position + start, results_digest(part.copy())]
            self.rows[source.client_id].append([*row, int((part == 1).sum())])
            start += count

    def evidence(self) -> list[Evidence]:
        return [
            Evidence(source, np.array([tuple(row) for row in self.rows[source.client_id]], FRAME_OUTCOME))
            for source in (self.opening, self.frames)
        ]

    def digests(self) -> NodeDigests:
        return NodeDigests(self.log.index, self.model.effects_digest, self.model.state_digest())

    def verify(self, node: NodeDigests | None = None, **options: Any) -> Verification:
        return verify_log(self.directory, self.evidence(), node or self.digests(), **options)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    opening, frames = AccountSetupSource(WORKLOAD, 1), FrameSource(WORKLOAD, CLIENT)
    made = Run(tmp_path, LogWriter(tmp_path), ReferenceModel(), opening, frames, {1: [], CLIENT: []})
    for number in range(opening.frames):
        made.submit((opening, number))
    made.submit((Copied(frames), 0), (Copied(frames), 1))
    made.submit((frames, 2))
    return made


@dataclass
class Copied:
    """A source whose frames survive the next one."""

    source: FrameSource

    @property
    def client_id(self) -> int:
        return self.source.client_id

    def frame(self, number: int) -> tuple[U64Array, U8Array]:
        records, payloads = self.source.frame(number)
        return records.copy(), payloads.copy()


@pytest.mark.parametrize("model_transactions_max", [0, 1_000_000])
def test_a_right_log_is_verified(run: Run, model_transactions_max: int) -> None:
    verdict = run.verify(model_transactions_max=model_transactions_max)
    assert verdict.problems == []
    assert verdict.verified
    assert (verdict.transactions, verdict.blocks, verdict.receipts) == (1399 + 1800, 3, 4)
    assert verdict.acknowledged == 1399 + 1800
    assert verdict.effects_digest == run.model.effects_digest
    assert ("all results recomputed by the plain model" in verdict.checks) == bool(model_transactions_max)
    assert "the node's digest of the whole state" in verdict.checks


def test_a_frame_without_an_answer_may_be_in_the_log_or_not(run: Run) -> None:
    for row in run.rows[CLIENT][-1:]:
        row[2] = UNKNOWN
    run.rows[CLIENT].append([3, 600, UNKNOWN, 0, 0, 0, 0, 0, 0, 0, 0])
    assert run.verify().problems == []


def test_a_frame_sent_again_is_verified_by_the_answers_it_was_given(run: Run) -> None:
    first = run.rows[CLIENT].pop(0)
    run.submit((run.frames, 0))
    assert run.rows[CLIENT][-1][-1] == 0, "all answers are duplicates"
    assert run.verify().problems == []
    run.rows[CLIENT].append(first)
    assert "two receipts for one frame" in run.verify().problems[0]


def test_an_acknowledged_frame_that_is_not_in_the_log_is_lost(run: Run) -> None:
    row = list(run.rows[CLIENT][-1])
    row[0], row[7], row[8] = 3, run.log.index + 1, run.log.position
    run.rows[CLIENT].append(row)
    problems = run.verify().problems
    assert "acknowledged and lost" in problems[0]
    assert "sent 2400 transactions and has receipts for 2400, but 1800 were applied" in problems[1]


def test_more_effects_than_were_sent_are_found(run: Run) -> None:
    run.submit((run.frames, 3))
    run.rows[CLIENT].pop()
    assert "sent 1800 transactions and has receipts for 1800, but 2400 were applied" in run.verify().problems[0]


def test_a_receipt_for_the_wrong_position_is_found(run: Run) -> None:
    run.rows[CLIENT][0][8] += 1
    assert any("other records than were sent" in problem for problem in run.verify().problems)
    run.rows[CLIENT][0][8] += 10**6
    assert any("does not hold these positions" in problem for problem in run.verify().problems)


def test_a_receipt_with_other_results_is_found(run: Run) -> None:
    run.rows[CLIENT][1][9] ^= 1
    assert ["results are not the recomputed ones" in problem for problem in run.verify().problems] == [True]


def test_records_changed_between_client_and_log_are_found(run: Run) -> None:
    def double_an_amount(records: bytearray) -> None:
        records[48] ^= 0x40

    run.submit((run.frames, 3), spoil=double_an_amount)
    assert any("other records than were sent" in problem for problem in run.verify().problems)


def test_payloads_changed_between_client_and_log_are_found(run: Run) -> None:
    def change_the_last_byte(payloads: bytearray) -> None:
        payloads[-1] ^= 1

    run.submit((run.frames, 3), spoil_payloads=change_the_last_byte)
    assert ["other payloads than were sent" in problem for problem in run.verify().problems] == [True]


def test_a_receipt_for_a_part_of_a_frame_is_found(run: Run) -> None:
    run.rows[CLIENT][0][1] -= 1
    assert any("other records than were sent" in problem for problem in run.verify().problems)


def test_successes_counted_wrongly_are_found(run: Run) -> None:
    run.rows[CLIENT][2][-1] += 1
    problems = run.verify().problems
    assert len(problems) == 1
    counted = run.rows[CLIENT][2][-1]
    assert f"the receipt counts {counted} successes, recomputed are {counted - 1}" in problems[0]


def test_a_long_log_is_held_against_the_plain_model_in_its_beginning(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    progress: list[int] = []
    monkeypatch.setattr("loadtest.verify.verify_log._PROGRESS_STEP", 1)
    verdict = run.verify(model_transactions_max=3000, on_progress=progress.append)
    assert verdict.problems == []
    assert "the first 2,599 results recomputed by the plain model" in verdict.checks
    assert progress == [1399, 2599, 3199]


@pytest.mark.parametrize("what", ["transaction 1400", "the digest of effects"])
def test_a_mistake_of_the_compiled_recomputation_is_found_by_the_plain_model(
    run: Run, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = CompiledModel.apply

    def wrong(self: CompiledModel, block: LogBlock) -> U8Array:
        results = right(self, block)
        if what.startswith("transaction"):
            results[1400 - block.first_position : 1401 - block.first_position] ^= 2
        else:
            self._carry[0] ^= np.uint64(1)
        return results

    monkeypatch.setattr(CompiledModel, "apply", wrong)
    assert any(f"{what}: the two recomputations differ" in p for p in run.verify(model_transactions_max=3000).problems)


@pytest.mark.parametrize(("effects", "state"), [(1, 0), (0, 1)])
def test_a_node_with_another_state_is_found(run: Run, effects: int, state: int) -> None:
    right = run.digests()
    wrong = NodeDigests(right.applied_index, right.effects_digest ^ effects, right.state_digest ^ state)
    verdict = run.verify(wrong)
    assert len(verdict.problems) == 1
    assert "digest" in verdict.problems[0]


def test_a_node_that_applied_what_the_log_does_not_hold_is_found(run: Run) -> None:
    wrong = NodeDigests(run.log.index + 1, run.digests().effects_digest)
    assert "which the log does not hold" in run.verify(wrong).problems[0]


@pytest.mark.parametrize("model_transactions_max", [3000, 1_000_000])
def test_a_damaged_log_is_a_problem_of_the_verdict(run: Run, model_transactions_max: int) -> None:
    path = next(run.directory.glob("*.segment"))
    image = bytearray(path.read_bytes())
    image[4096 + 300] ^= 1
    path.write_bytes(image)
    verdict = run.verify(model_transactions_max=model_transactions_max)
    assert not verdict.verified
    assert "does not match its hash" in verdict.problems[0]


def test_a_general_log_is_left_to_the_plain_model_while_it_is_short(tmp_path: Path) -> None:
    log = LogWriter(tmp_path)
    log.append(*body(record(2, 1, key=b"some key", value=b"v"), record(2, 2, key=b"k" * 40, value=b"v", namespace=2)))
    assert verify_log(tmp_path).verified
    verdict = verify_log(tmp_path, model_transactions_max=0)
    assert not verdict.verified
    assert "plain model takes 0" in verdict.problems[0]


@pytest.mark.parametrize("model_transactions_max", [0, 3, 1_000_000])
def test_a_log_is_replayed_with_the_bounds_on_sessions_that_it_began_with(
    tmp_path: Path, model_transactions_max: int
) -> None:
    """Two sessions, and so a third client is refused: by the defaults, it would be let in."""
    parameters = {"session.capacity": 2, "session.horizon_ns": 1 << 40, "session.page_capacity": 100}
    (tmp_path / "cluster").write_text(json.dumps({"format": 1, "cluster_id": "9", "parameters": parameters}))
    log, model = LogWriter(tmp_path), ReferenceModel(SessionBounds(2, 1 << 40, 100))
    answers = b""
    for block in range(4):
        sent = [record(5, block + 1, client=client, key=bytes(8), amount=1) for client in (1, 2, 3)]
        answers += model.apply(*body(*sent), log.position, block + 1)
        log.append(*body(*sent), time_ns=block + 1)
    node = NodeDigests(log.index, model.effects_digest, model.state_digest(), log.position)
    verdict = verify_log(tmp_path, node=node, model_transactions_max=model_transactions_max)
    assert answers == bytes([1, 1, SESSIONS_EXHAUSTED] * 4)
    assert verdict.problems == []
    assert verdict.verified


@pytest.mark.parametrize("metadata", ["", "[]", '{"parameters": {"session.capacity": 2}}', '{"parameters": 5}'])
def test_metadata_that_cannot_be_read_are_a_problem_of_the_verdict(tmp_path: Path, metadata: str) -> None:
    LogWriter(tmp_path).append(*body(record(5, 1, key=bytes(8), amount=1)))
    (tmp_path / "cluster").write_text(metadata)
    verdict = verify_log(tmp_path)
    assert not verdict.verified
    assert "the bounds on sessions cannot be read" in verdict.problems[0]
