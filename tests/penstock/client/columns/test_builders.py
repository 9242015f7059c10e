from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import penstock
from penstock import Add, Append, Cas, Columns, Delete, InvalidOperation, OpenAccount, Operation, Put, Transfer

ACCOUNTS = st.one_of(st.integers(0, (1 << 128) - 1), st.integers(0, 9), st.integers((1 << 63) - 2, (1 << 64) + 1))
AMOUNTS = st.one_of(st.integers(1, (1 << 63) - 1), st.integers(1, 9))
SIGNED = st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(-9, 9))
VERSIONS = st.one_of(st.integers(0, (1 << 64) - 1), st.integers(0, 9))
NAMESPACES = st.integers(0, 65_535)
KEYS = st.one_of(st.binary(min_size=1, max_size=18), st.binary(min_size=1000, max_size=1024))
VALUES = st.binary(max_size=40)


def encoded(operations: Sequence[Operation]) -> tuple[bytes, bytes]:
    both = [operation.encode() for operation in operations]
    return b"".join(record for record, _ in both), b"".join(payload for _, payload in both)


def assert_same(columns: Columns, operations: Sequence[Operation]) -> None:
    assert (columns.records.tobytes(), columns.payloads) == encoded(operations)


def wrong(value: object) -> Any:
    """A value of a type that the type checker refuses, too."""
    return value


def rows(*columns: st.SearchStrategy[object]) -> st.SearchStrategy[list[tuple[object, ...]]]:
    return st.lists(st.tuples(*columns), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("build", "operation", "strategies", "names"),
    [
        (penstock.transfers, Transfer, (ACCOUNTS, ACCOUNTS, AMOUNTS, NAMESPACES), "debit credit amount namespace"),
        (penstock.open_accounts, OpenAccount, (ACCOUNTS, st.booleans(), NAMESPACES), "account overdraft namespace"),
        (penstock.puts, Put, (KEYS, VALUES, NAMESPACES), "key value namespace"),
        (penstock.deletes, Delete, (KEYS, NAMESPACES), "key namespace"),
        (penstock.cas, Cas, (KEYS, VALUES, VERSIONS, NAMESPACES), "key value expected_version namespace"),
        (penstock.adds, Add, (KEYS, SIGNED, NAMESPACES), "key amount namespace"),
        (penstock.adds, Add, (KEYS, SIGNED, SIGNED, NAMESPACES), "key amount floor namespace"),
        (penstock.appends, Append, (VALUES, ACCOUNTS, ACCOUNTS, NAMESPACES), "payload key operand namespace"),
    ],
)
@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_columns_are_the_records_and_payloads_of_the_single_operations(
    build: Callable[..., Columns],
    operation: Callable[..., Operation],
    strategies: Sequence[st.SearchStrategy[object]],
    names: str,
    data: st.DataObject,
) -> None:
    given_rows = data.draw(rows(*strategies))
    columns = {name: [row[i] for row in given_rows] for i, name in enumerate(names.split())}
    expected = [operation(**dict(zip(columns, row, strict=True))) for row in given_rows]
    assert_same(build(**columns), expected)


def test_a_single_value_holds_for_all_rows() -> None:
    assert_same(penstock.transfers(1, [2, 3], 4), [Transfer(1, 2, 4), Transfer(1, 3, 4)])
    assert_same(penstock.puts([b"a", b"k" * 17], b"v"), [Put(b"a", b"v"), Put(b"k" * 17, b"v")])
    assert_same(penstock.puts(b"k" * 17, [b"v", b"w"], namespace=3), [Put(b"k" * 17, b"v", 3), Put(b"k" * 17, b"w", 3)])
    assert_same(penstock.adds(b"n", [1, -1], floor=0), [Add(b"n", 1, floor=0), Add(b"n", -1, floor=0)])
    assert_same(penstock.open_accounts(range(3), overdraft=True), [OpenAccount(n, overdraft=True) for n in range(3)])
    assert_same(penstock.transfers(1, 2, 3), [Transfer(1, 2, 3)])
    assert_same(penstock.appends(b"p", key=[1, 2]), [Append(b"p", key=1), Append(b"p", key=2)])


def test_no_rows_are_no_transactions() -> None:
    assert len(penstock.transfers([], [], [])) == len(penstock.puts([], [])) == len(penstock.deletes([])) == 0


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", ">u4", "i8", "u8", ">i8", object])
def test_any_integers_of_numpy_are_integers(dtype: npt.DTypeLike) -> None:
    numbers = np.array([1, 2, 127], dtype)
    assert_same(penstock.transfers(numbers, 3, numbers), [Transfer(n, 3, n) for n in (1, 2, 127)])
    every_second = np.array([1, 9, 2, 9], dtype)[::2]
    assert_same(penstock.transfers(every_second, 3, np.int8(4)), [Transfer(1, 3, 4), Transfer(2, 3, 4)])


def test_large_accounts_come_as_integers_or_as_halves() -> None:
    halves = np.array([[1, 2], [3, 4]], np.uint64)
    large = [1 + (2 << 64), 3 + (4 << 64)]
    assert_same(penstock.transfers(halves, large, 1), [Transfer(n, n, 1) for n in large])
    assert_same(penstock.open_accounts(1 << 127), [OpenAccount(1 << 127)])


def test_bytes_come_in_any_form_of_bytes() -> None:
    expected = [Put(b"a", b"1"), Put(b"bc", b"")]
    for form in (list, tuple, lambda parts: np.array(parts, "S2"), lambda parts: np.array(parts, object)):
        assert_same(penstock.puts(form([b"a", b"bc"]), form([b"1", b""])), expected)
    assert_same(penstock.puts([bytearray(b"a"), memoryview(b"bc")], [b"1", bytearray()]), expected)  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: penstock.transfers([1, -1], 2, 3), r"debit\[1\] is -1, but must be 0 to 2\^128-1"),
        (lambda: penstock.transfers([1 << 128], 2, 3), r"debit\[0\] is 340\d+, but must be 0 to 2\^128-1"),
        (lambda: penstock.transfers([0, 1 << 128, -1], 2, 3), r"debit\[1\]"),
        (lambda: penstock.transfers(1, 2, [5, 0, -1]), r"amount\[1\] is 0, but must be 1 to 2\^63-1"),
        (lambda: penstock.transfers(1, 2, np.array([1, 1 << 63], np.uint64)), r"amount\[1\] is 9223372036854775808"),
        (lambda: penstock.transfers(1, 2, [1.0]), r"amount\[0\] is 1.0, but must be an integer"),
        (lambda: penstock.transfers(1, 2, np.array([1.5])), r"amount\[0\] is 1.5, but must be an integer"),
        (lambda: penstock.transfers(1, 2, wrong([1, None])), r"amount\[1\] is None"),
        (lambda: penstock.transfers(1, 2, wrong([1, "2"])), r"amount\[1\] is '2'"),
        (lambda: penstock.transfers(1, 2, True), "amount is True, but must be an integer"),
        (lambda: penstock.transfers(1, 2, [[1]]), "amount has 2 dimensions"),
        (lambda: penstock.transfers([[1], [2, 3]], 2, 3), "debit is no column of integers"),
        (lambda: penstock.transfers(1, 2, 0), "amount is 0, but must be 1"),
        (lambda: penstock.transfers([1, 2], [1, 2, 3], 1), "debit has 2 rows and credit has 3"),
        (lambda: penstock.transfers([], [1, 2, 3], 1), "debit has 0 rows and credit has 3"),
        (lambda: penstock.transfers(1, 2, 3, namespace=[65_535, 65_536]), r"namespace\[1\] is 65536"),
        (lambda: penstock.puts([b"a", b""], b""), r"key\[1\] has 0 bytes, but must have 1 to 1024"),
        (lambda: penstock.puts([b"k" * 1025], b""), r"key\[0\] has 1025 bytes"),
        (lambda: penstock.puts([b"k"], [b"v" * (1048576 + 1)]), r"value\[0\] has 1048577 bytes"),
        (lambda: penstock.puts([b"k", b"k" * 17], [b"", b"v" * 1048576]), r"key\[1\] and its value have 1048593 bytes"),
        (lambda: penstock.puts(wrong([b"a", "b"]), b""), r"key\[1\] is str, but must be bytes: encode it"),
        (lambda: penstock.puts(wrong("a"), b""), "key is str"),
        (lambda: penstock.puts(wrong([1]), b""), r"key\[0\] is int"),
        (lambda: penstock.puts(wrong(7), b""), "key is int"),
        (lambda: penstock.puts([b"a", b"b"], [b""] * 3), "key has 2 rows and value has 3"),
        (lambda: penstock.cas([b"a"], b"", [-1]), r"expected_version\[0\] is -1, but must be 0 to 2\^64-1"),
        (lambda: penstock.cas([b"a", b"b"], b"", [1, 2, 3]), "key has 2 rows and expected_version has 3"),
        (lambda: penstock.adds([b"a"], [1 << 63]), r"amount\[0\] is 9223372036854775808, but must be -2\^63"),
        (lambda: penstock.adds([b"a"], 1, floor=[-(1 << 63) - 1]), r"floor\[0\] is -9223372036854775809"),
        (lambda: penstock.open_accounts(1, overdraft=1), "overdraft must be True, False"),
        (lambda: penstock.appends([b"p" * (1048576 + 1)]), r"payload\[0\] has 1048577 bytes"),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_by_its_argument_and_first_row(build: Callable[[], Columns], told: str) -> None:
    with pytest.raises(InvalidOperation, match=told):
        build()


def test_columns_put_behind_others_follow_them() -> None:
    both = penstock.puts([b"a"], [b"1"]) + penstock.transfers(1, 2, 3) + penstock.puts([b"k" * 20], [b"2"])
    assert len(both) == 3
    assert_same(both, [Put(b"a", b"1"), Transfer(1, 2, 3), Put(b"k" * 20, b"2")])


def test_opcodes_and_flags_are_those_of_the_contract() -> None:
    from penstock.v1 import record_pb2

    numbers = {name: value for name, value in record_pb2.Operation.items() if value}
    assert {f"OPERATION_{opcode.name}": opcode.value for opcode in penstock.Opcode} == numbers
    flags = {name: value for name, value in record_pb2.Flag.items() if value}
    assert flags == {"FLAG_LINKED": penstock.LINKED, "FLAG_OVERDRAFT": penstock.OVERDRAFT, "FLAG_FLOOR": penstock.FLOOR}


def test_flags_and_opcodes_are_set_and_found_in_the_records() -> None:
    columns = penstock.transfers([1, 2, 3], 4, 5)
    columns.records["flags"][:-1] |= penstock.LINKED
    assert columns.records["flags"].tolist() == [1, 1, 0]
    assert (columns.records["operation"] == penstock.Opcode.TRANSFER).all()
