"""What is given is taken for what it holds, or refused by the name of its argument, before anything is sent."""

from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from penstock.client.errors import InvalidOperation
from penstock.client.keys import AccountKey, CounterKey, ValueKey
from penstock.client.operations import (
    Add,
    Append,
    Cas,
    Delete,
    Encoded,
    OpenAccount,
    Operation,
    Put,
    Transfer,
    encode,
    encode_chain,
)
from penstock.client.options import BatchOptions, FlowOptions, RetryOptions
from penstock.client.session import Session

TWELVE_BYTES = bytes([1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0])


@pytest.mark.parametrize(
    "value",
    [
        bytearray(TWELVE_BYTES),
        memoryview(TWELVE_BYTES),
        memoryview(array("I", [1, 2, 3])),
        array("I", [1, 2, 3]),
        np.array([1, 2, 3], np.uint32),
        np.array([[1, 2, 3]], np.uint32),
        np.array([1, 9, 2, 9, 3, 9], np.uint32)[::2],
        np.bytes_(TWELVE_BYTES),
    ],
    ids=lambda value: type(value).__name__,
)
def test_bytes_are_those_that_a_value_holds_however_many_items_it_has(value: Any) -> None:
    same = bytes(memoryview(value).tobytes())
    for operation in (Put(b"k", value), Append(value), Put(b"k" * 20, value), Cas(b"k", value, 0)):
        record, payload = operation.encode()
        assert payload.endswith(same)
        assert int.from_bytes(record[60:], "little") == len(payload)
    assert Put(value, b"").encode() == Put(same, b"").encode()
    assert ValueKey(value).message().value == CounterKey(value).message().counter == same


INTEGERS = [np.int8, np.uint8, np.int32, np.uint64, np.int64]


@pytest.mark.parametrize("kind", INTEGERS)
def test_numpys_integers_are_integers(kind: Callable[[int], Any]) -> None:
    five = kind(5)
    assert Transfer(five, five, five, five).encode() == Transfer(5, 5, 5, 5).encode()
    assert OpenAccount(five, namespace=five).encode() == OpenAccount(5, namespace=5).encode()
    assert Add(b"k", five, five, five).encode() == Add(b"k", 5, 5, 5).encode()
    assert Cas(b"k", b"v", five, five).encode() == Cas(b"k", b"v", 5, 5).encode()
    assert Append(b"", five, five, five).encode() == Append(b"", 5, 5, 5).encode()
    assert AccountKey(five, five).message() == AccountKey(5, 5).message()
    assert BatchOptions(size_max=five, eager_frames=five) == BatchOptions(size_max=5, eager_frames=5)
    assert Session(five, five).take_sequences(1) == 5


NOT_BYTES: list[Any] = ["text", None, 5, ["a"], np.array([object()])]
NOT_INTEGERS: list[Any] = ["1", None, 1.0, True, np.True_, np.float64(1), b"1", [1], np.array([1, 2])]
ARGUMENTS: list[tuple[str, Callable[[Any], Any], list[Any]]] = [
    ("key", lambda x: Put(x, b"").encode(), NOT_BYTES),
    ("value", lambda x: Put(b"k", x).encode(), NOT_BYTES),
    ("key", lambda x: Delete(x).encode(), NOT_BYTES),
    ("key", lambda x: Cas(x, b"", 0).encode(), NOT_BYTES),
    ("value", lambda x: Cas(b"k", x, 0).encode(), NOT_BYTES),
    ("key", lambda x: Add(x, 1).encode(), NOT_BYTES),
    ("payload", lambda x: Append(x).encode(), NOT_BYTES),
    ("key", lambda x: ValueKey(x).message(), NOT_BYTES),
    ("key", lambda x: CounterKey(x).message(), NOT_BYTES),
    ("expected_version", lambda x: Cas(b"k", b"", x).encode(), NOT_INTEGERS),
    ("amount", lambda x: Add(b"k", x).encode(), NOT_INTEGERS),
    ("floor", lambda x: Add(b"k", 1, x).encode(), [x for x in NOT_INTEGERS if x is not None]),
    ("debit", lambda x: Transfer(x, 2, 3).encode(), NOT_INTEGERS),
    ("credit", lambda x: Transfer(1, x, 3).encode(), NOT_INTEGERS),
    ("amount", lambda x: Transfer(1, 2, x).encode(), NOT_INTEGERS),
    ("namespace", lambda x: Transfer(1, 2, 3, x).encode(), NOT_INTEGERS),
    ("namespace", lambda x: Put(b"k", b"", x).encode(), NOT_INTEGERS),
    ("namespace", lambda x: ValueKey(b"k", x).message(), NOT_INTEGERS),
    ("account", lambda x: OpenAccount(x).encode(), NOT_INTEGERS),
    ("account", lambda x: AccountKey(x).message(), NOT_INTEGERS),
    ("overdraft", lambda x: OpenAccount(1, x).encode(), ["no", 0, None]),
    ("operand", lambda x: Append(b"", operand=x).encode(), NOT_INTEGERS),
    ("operation", encode, ["ab", None, Put]),
    ("operation", lambda x: encode_chain([Put(b"k", b""), x]), ["ab", None]),
    ("operations", encode_chain, [None, 5]),
    ("client_id", lambda x: Session(x, 1), [x for x in NOT_INTEGERS if x is not None]),
    ("next_sequence", lambda x: Session(1, x), [x for x in NOT_INTEGERS if x is not None]),
    ("size_max", lambda x: BatchOptions(size_max=x), NOT_INTEGERS),
    ("linger_ms", lambda x: BatchOptions(linger_ms=x), ["1", None, True, float("nan"), float("inf")]),
    ("deadline_s", lambda x: RetryOptions(deadline_s=x), ["1", None, True, float("nan"), float("inf"), 0]),
    ("backoff_cap_ms", lambda x: RetryOptions(backoff_cap_ms=x), ["1", None, float("nan"), 1e300, 0]),
    ("frames_max", lambda x: FlowOptions(frames_max=x), NOT_INTEGERS),
    ("transactions_max", lambda x: FlowOptions(transactions_max=x), NOT_INTEGERS),
]


@pytest.mark.parametrize(("name", "use", "values"), ARGUMENTS, ids=[each[0] for each in ARGUMENTS])
def test_a_wrong_type_is_refused_and_named(name: str, use: Callable[[Any], Any], values: list[Any]) -> None:
    for value in values:
        with pytest.raises(InvalidOperation, match=rf"^{name} "):
            use(value)


def test_what_is_out_of_range_is_named_too() -> None:
    for name, operation in (
        ("debit", Transfer(-1, 2, 3)),
        ("credit", Transfer(1, 1 << 128, 3)),
        ("namespace", Transfer(1, 2, 3, 1 << 16)),
        ("floor", Add(b"k", 1, 1 << 63)),
        ("value", Put(b"k" * 17, bytes((1 << 20) - 16))),
    ):
        with pytest.raises(InvalidOperation, match=rf"^{name} "):
            operation.encode()


class _Odd(Operation):
    """A program's own operation, whose record and payload do not go together."""

    def encode(self) -> Encoded:
        return Append(b"five!").encode()[0], b"four"


def test_an_operation_of_a_programs_own_is_checked_whole() -> None:
    with pytest.raises(InvalidOperation, match="4 bytes, but its record says 5"):
        encode(_Odd())
