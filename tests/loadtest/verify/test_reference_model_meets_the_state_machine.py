"""The state machine and the plain model, written apart from each other, agree on everything: results and both digests.

Chains, duplicates, long keys and all bounds included; this is what makes the model's word worth something.
"""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.verify.reference_model import ReferenceModel
from loadtest.verify.session_ledger import WINDOW, SessionBounds
from statestore import session_bounds
from statestore.state_machine import StateMachine
from tests.loadtest.verify.session_histories import Block, histories
from tests.loadtest.verify.transactions import body, record

LINKED, OVERDRAFT, FLOOR = 1, 2, 4
HORIZON_NS = 1000
CAPACITY = 4

short_keys = st.sampled_from([b"a", b"b", b"a\0", bytes(16), b"x" * 15, b"x" * 16])
long_keys = st.sampled_from([b"x" * 17, b"y" * 100, b"y" * 99 + b"z", b"k" * 1024])
accounts = st.sampled_from([0, 1, 2, 3, 1 << 63])
amounts = st.sampled_from([-(1 << 63), -(1 << 62), -7, -1, 0, 1, 2, 7, 1 << 62, (1 << 63) - 1])
sequences = st.sampled_from([*range(1, 12), WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + 2, 2 * WINDOW + 3])


@st.composite
def transactions(draw: st.DrawFn) -> tuple[int, dict[str, object]]:
    """An operation, and the fields of a record that the contract allows for it; ids come later."""
    operation = draw(st.integers(1, 7))
    fields: dict[str, object] = {"namespace": draw(st.sampled_from([0, 0, 0, 7, 65_535]))}
    if operation == 1:
        fields["value"] = draw(st.binary(max_size=9))
    elif operation in (2, 3, 4, 5):
        fields["key"] = draw(short_keys | long_keys)
        if operation in (2, 4):
            fields["value"] = draw(st.binary(max_size=40) | st.sampled_from([b"v" * 255, b"w" * 5000]))
        if operation == 4:
            fields["lower"] = draw(st.integers(0, 12))
        if operation == 5:
            fields["amount"] = draw(amounts)
            if draw(st.booleans()):
                fields["flags"], fields["lower"] = FLOOR, draw(amounts)
    elif operation == 6:
        fields["debit"], fields["credit"] = draw(accounts), draw(accounts)
        fields["amount"] = draw(amounts.filter(lambda amount: amount > 0))
    else:
        fields["debit"], fields["flags"] = draw(accounts), draw(st.sampled_from([0, OVERDRAFT]))
    return operation, fields


@st.composite
def frames(draw: st.DrawFn) -> list[tuple[bytes, bytes]]:
    """A frame as admission lets it in: one client, increasing sequences, no chain open at its end."""
    content = draw(st.lists(transactions(), min_size=1, max_size=8))
    numbers = sorted(draw(st.lists(sequences, min_size=len(content), max_size=len(content), unique=True)))
    client = draw(st.integers(1, CAPACITY + 1))
    made = []
    for place, ((operation, fields), sequence) in enumerate(zip(content, numbers, strict=True), start=1):
        linked = LINKED if place < len(content) and draw(st.booleans()) else 0
        flags = linked | int(fields.pop("flags", 0))  # type: ignore[call-overload]
        made.append(record(operation, sequence, client=client, flags=flags, **fields))  # type: ignore[arg-type]
    return made


def aligned(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    words = np.zeros(-(-len(data) // 8) or 1, np.uint64)
    view = words.view(np.uint8)
    view[: len(data)] = np.frombuffer(data, np.uint8)
    return view


def compare(bounds: SessionBounds, blocks: list[Block]) -> None:
    """Apply the blocks by both, and compare all that they say."""
    model = ReferenceModel(bounds)
    state = StateMachine(
        bytes_max=64 << 20,
        session_bounds=session_bounds.SessionBounds(bounds.sessions, bounds.horizon_ns, bounds.pages),
    )
    position = 0
    for index, made in enumerate(blocks, start=1):
        records, payloads = body(*made.transactions)
        count = len(made.transactions)
        results = np.zeros(count, np.uint8)
        state.apply(aligned(records + payloads), count, len(payloads), position, made.time_ns, index, results)
        assert list(results) == list(model.apply(records, payloads, position, made.time_ns))
        position += count
        assert state.effects_digest == model.effects_digest
        assert state.state_digest() == model.state_digest()


@settings(max_examples=250, deadline=None)
@given(st.lists(st.tuples(st.lists(frames(), min_size=1, max_size=3), st.integers(0, 700)), min_size=1, max_size=6))
def test_results_and_digests_agree(blocks: list[tuple[list[list[tuple[bytes, bytes]]], int]]) -> None:
    made, time_ns = [], 10_000
    for content, elapsed_ns in blocks:
        time_ns += elapsed_ns
        made.append(Block([transaction for frame in content for transaction in frame], time_ns))
    compare(SessionBounds(CAPACITY, HORIZON_NS, 1000), made)


@settings(max_examples=400, deadline=None)
@given(histories(jumps=False))
def test_hostile_histories_of_sessions_agree(history: tuple[SessionBounds, list[Block]]) -> None:
    compare(*history)
