"""A watched block's transactions are what was submitted, each with its key, its result and its place in the log."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import penstock
from penstock import (
    Add,
    Append,
    Cas,
    Delete,
    EndSession,
    InvalidOperation,
    OpenAccount,
    Operation,
    Put,
    Result,
    ResultCode,
    SetSessionBounds,
    TransactionKey,
    Transactions,
    Transfer,
    UnknownOperation,
)
from penstock.client.operations import encode, encode_chain
from penstock.client.watching import transactions
from penstock.client.watching.decoding import Row, operation_of
from penstock.contract.record import RECORD
from penstock.contract.result_code import DUPLICATE

keys = st.binary(min_size=1, max_size=40)
values = st.binary(max_size=60)
accounts = st.integers(0, 2**128 - 1)
namespaces = st.integers(0, 65_535)
amounts = st.integers(-(2**63), 2**63 - 1)
operations = st.one_of(
    st.builds(Append, values, namespaces, accounts, accounts),
    st.builds(Put, keys, values, namespaces),
    st.builds(Delete, keys, namespaces),
    st.builds(Cas, keys, values, st.integers(0, 2**64 - 1), namespaces),
    st.builds(Add, keys, amounts, st.none() | amounts, namespaces),
    st.builds(Transfer, accounts, accounts, st.integers(1, 2**63 - 1), namespaces),
    st.builds(OpenAccount, accounts, st.booleans(), namespaces),
)


def block_of(submitted: list[Operation], results: bytes | None = None) -> Transactions:
    encoded = [encode(operation) for operation in submitted]
    records = np.frombuffer(b"".join(record for record, _ in encoded), RECORD).copy()
    records["client_id"], records["sequence"] = 7, np.arange(1, len(records) + 1)
    codes = np.frombuffer(results or bytes([ResultCode.OK]) * len(records), np.uint8)
    positions = np.arange(100, 100 + len(records), dtype=np.uint64)
    return Transactions(5, positions, records, b"".join(payload for _, payload in encoded), codes)


@given(st.lists(operations, max_size=20))
@settings(deadline=None)
def test_whatever_was_submitted_is_decoded_as_what_it_was(submitted: list[Operation]) -> None:
    block = block_of(submitted)
    assert [each.operation for each in block] == submitted
    assert [block[i].operation for i in range(len(block))] == submitted


def test_a_transaction_tells_its_key_its_result_and_its_place() -> None:
    block = block_of(
        [Put(b"a", b"1"), Transfer(1, 2, 3)], bytes([ResultCode.OK, ResultCode.INSUFFICIENT_FUNDS | DUPLICATE])
    )
    first, second = block
    assert first.key == TransactionKey(7, 1)
    assert second.result == Result(ResultCode.INSUFFICIENT_FUNDS, True, 5, 101)
    assert (first.position, second.position) == (100, 101)


def test_a_chain_is_told_by_its_links() -> None:
    chain, payloads = encode_chain([Put(b"a", b"1"), Put(b"b", b"2"), Put(b"c", b"3")])
    records = np.frombuffer(b"".join(chain), RECORD)
    block = Transactions(1, np.arange(3, dtype=np.uint64), records, payloads, np.ones(3, np.uint8))
    assert [each.linked for each in block] == [True, True, False]
    assert [each.operation for each in block] == [Put(b"a", b"1"), Put(b"b", b"2"), Put(b"c", b"3")]


@pytest.mark.parametrize("count", [1, 255, 256, 257, 1000])
def test_items_from_the_end_slices_and_iteration_agree(count: int) -> None:
    block = block_of([Put(b"k" * (1 + i % 30), bytes(i % 7)) for i in range(count)])
    everything = list(block)
    assert len(everything) == len(block) == count
    assert block[-1] == everything[-1]
    assert block[count // 2 :] == everything[count // 2 :]
    assert list(reversed(block)) == everything[::-1]
    for outside in (count, -count - 1):
        with pytest.raises(IndexError):
            block[outside]


def test_nothing_is_decoded_before_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []

    def noting(row: Row, payload: bytes) -> Operation:
        decoded.append(row.sequence)
        return operation_of(row, payload)

    monkeypatch.setattr(transactions, "operation_of", noting)
    block = block_of([Put(b"a", b"1")] * 10)
    assert (len(block), decoded) == (10, [])
    assert block[4].operation == Put(b"a", b"1")
    next(iter(block))
    assert decoded == [5, 1]


def special(opcode: int, **fields: Any) -> Operation:
    records = np.zeros(1, RECORD)
    records["operation"] = opcode
    for name, value in fields.items():
        records[name] = value
    payload = bytes(int(records["payload_length"][0]))
    return Transactions(1, np.zeros(1, np.uint64), records, payload, np.ones(1, np.uint8))[0].operation


def test_what_a_program_cannot_submit_is_decoded_and_refused_when_it_is_submitted() -> None:
    assert special(penstock.Opcode.END_SESSION) == EndSession()
    bounds = special(penstock.Opcode.SET_SESSION_BOUNDS, amount=9, operand_lo=10, operand_hi=11)
    assert bounds == SetSessionBounds(sessions=9, horizon_ns=10, result_pages=11)
    unknown = special(99, key_lo=1, operand_hi=1, amount=-3, flags=4, payload_length=2, namespace=8)
    assert unknown == UnknownOperation(99, 1, 1 << 64, -3, 4, b"\0\0", namespace=8)
    for operation in (EndSession(), bounds, unknown):
        with pytest.raises(InvalidOperation):
            encode(operation)


def test_a_code_that_this_client_does_not_know_took_no_effect() -> None:
    result = block_of([Put(b"a", b"")], bytes([99]))[0].result
    assert (result.code, result.ok) == (ResultCode.UNSPECIFIED, False)
