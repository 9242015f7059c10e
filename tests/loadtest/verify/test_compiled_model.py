"""The compiled recomputation and the plain model agree, and what the former cannot do it refuses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.load.frame_source import AccountSetupSource, FrameSource
from loadtest.load.workload import OPERATIONS, Workload
from loadtest.verify.compiled_model import CompiledModel, UnsupportedTransaction
from loadtest.verify.reference_model import ReferenceModel
from loadtest.verify.session_ledger import WINDOW
from tests.loadtest.verify.transactions import block, body, record


def test_both_recomputations_agree_on_every_operation_duplicates_included() -> None:
    workload = Workload(accounts=300, mix=dict.fromkeys(OPERATIONS, 1.0), frame=3000, value_bytes=21, zipf=0.9)
    fast, plain, position = CompiledModel(keys=64, clients=1), ReferenceModel(), 0
    opening = AccountSetupSource(workload, 1)
    frames = [opening.frame(number) for number in range(opening.frames)]
    for number in (0, 1, 1, 4, 2, 0):
        frames += [FrameSource(workload, client).frame(number) for client in (2, 3, 4)]
    for index, (records, payloads) in enumerate(frames, start=1):
        logged = block(records.tobytes(), payloads.tobytes(), index=index, position=position)
        expected = plain.apply(records.tobytes(), payloads.tobytes(), position, index)
        assert fast.apply(logged).tobytes() == expected
        position += len(records)
    assert fast.effects_digest == plain.effects_digest
    assert fast.state_digest() == plain.state_digest()
    assert fast.money_problems() == []
    assert fast.executed(2) == 4 * 3000


keys = st.integers(0, 5)
amounts = st.sampled_from([-(1 << 63), -(1 << 62), -3, -1, 0, 1, 2, 5, 1 << 62, (1 << 63) - 1])


@st.composite
def transactions(draw: st.DrawFn) -> tuple[bytes, bytes]:
    operation = draw(st.integers(1, 7))
    client, sequence = draw(st.integers(1, 3)), draw(st.sampled_from([*range(1, 30), WINDOW, WINDOW + 5, 3 * WINDOW]))
    key = draw(keys)
    if operation in (2, 3, 4, 5):
        return record(
            operation,
            sequence,
            client=client,
            key=key.to_bytes(8, "little"),
            value=draw(st.binary(max_size=20)) if operation in (2, 4) else b"",
            amount=draw(amounts) if operation == 5 else 0,
            lower=draw(st.integers(0, 8)) if operation == 4 else 0,
        )
    if operation == 6:
        return record(
            6, sequence, client=client, debit=key, credit=draw(keys), amount=abs(draw(amounts)) % (1 << 63) or 1
        )
    flags = draw(st.sampled_from([0, 2])) if operation == 7 else 0
    return record(operation, sequence, client=client, debit=key, flags=flags)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(transactions(), min_size=1, max_size=25), min_size=1, max_size=4))
def test_both_recomputations_agree_on_any_log_of_numbered_keys(blocks: list[list[tuple[bytes, bytes]]]) -> None:
    fast, plain, position = CompiledModel(keys=2, clients=1), ReferenceModel(), 0
    for index, content in enumerate(blocks, start=1):
        records, payloads = body(*content)
        expected = plain.apply(records, payloads, position, index)
        assert list(fast.apply(block(records, payloads, index=index, position=position))) == list(expected)
        position += len(content)
    assert fast.effects_digest == plain.effects_digest
    assert fast.state_digest() == plain.state_digest()


@pytest.mark.parametrize(
    "strange",
    [
        record(2, 1, key=b"long" * 5, value=b"v"),
        record(2, 1, key=b"short", value=b"v"),
        record(1, 1, namespace=3),
        record(5, 1, key=bytes(8), flags=5),
        record(8, 1, flags=1),
        record(5, 1, key=bytes(8), flags=4),
        record(7, 1, debit=1 << 40),
        record(6, 1, debit=1, credit=1 << 40, amount=1),
        (record(2, 1, key=bytes(8), value=b"a value")[0], b"a val"),
    ],
)
def test_what_the_arrays_cannot_hold_is_refused(strange: tuple[bytes, bytes]) -> None:
    with pytest.raises(UnsupportedTransaction, match="transaction 41 "):
        CompiledModel(keys=1 << 20).apply(block(*body(record(1, 1, client=9), strange), position=40))


def test_payloads_that_no_record_speaks_of_are_refused() -> None:
    with pytest.raises(UnsupportedTransaction, match="block 1 has payloads that no record speaks of"):
        CompiledModel().apply(block(*body((record(1, 1)[0], b"payload"))))


def test_money_from_nowhere_and_overdrawn_accounts_are_noticed() -> None:
    state = CompiledModel(keys=16)
    state.apply(block(*body(record(7, 1, debit=1), record(7, 2, debit=2))))
    assert state.money_problems() == []
    state._cells[2, 1, 0] = np.int64(-5).view(np.uint64)
    problems = " ".join(state.money_problems())
    assert "-5, not 0" in problems
    assert "1 accounts without overdraft are below 0" in problems
