"""Every operation becomes the record that the contract describes, and what no node would take is refused here."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.client import results
from penstock.client.errors import InvalidOperation
from penstock.client.operations import Add, Append, Cas, Delete, OpenAccount, Operation, Put, Transfer, encode_chain
from penstock.contract import flag
from penstock.contract.record import RECORD
from penstock.v1 import record_pb2

ACCOUNT = st.integers(0, 2**128 - 1)
NAMESPACE = st.integers(0, 65535)
KEY = st.binary(min_size=1, max_size=40)


def parsed(operation: Operation) -> tuple[dict[str, int], bytes]:
    encoded, payload = operation.encode()
    fields = np.frombuffer(encoded, RECORD)
    assert len(fields) == 1
    values = {name: int(fields[name][0]) for name in RECORD.names or ()}
    assert values["payload_length"] == len(payload)
    assert values["client_id"] == values["sequence"] == 0
    return values, payload


@given(ACCOUNT, ACCOUNT, st.integers(1, 2**63 - 1), NAMESPACE)
def test_a_transfer_carries_both_accounts_and_the_amount(debit: int, credit: int, amount: int, namespace: int) -> None:
    fields, payload = parsed(Transfer(debit, credit, amount, namespace))
    assert fields["key_lo"] | fields["key_hi"] << 64 == debit
    assert fields["operand_lo"] | fields["operand_hi"] << 64 == credit
    assert (fields["amount"], fields["namespace"], fields["operation"], fields["flags"]) == (amount, namespace, 6, 0)
    assert payload == b""


@given(KEY, st.binary(max_size=100), st.integers(0, 2**64 - 1), NAMESPACE)
def test_a_key_is_inline_up_to_16_bytes_and_heads_the_payload_beyond(
    key: bytes, value: bytes, version: int, namespace: int
) -> None:
    fields, payload = parsed(Cas(key, value, version, namespace))
    inline = struct.pack("<QQ", fields["key_lo"], fields["key_hi"])
    assert (inline, payload) == ((key.ljust(16, b"\0"), value) if len(key) <= 16 else (bytes(16), key + value))
    assert (fields["operand_lo"], fields["operand_hi"]) == (version, len(key))
    assert (fields["namespace"], fields["operation"], fields["amount"]) == (namespace, 4, 0)


@given(KEY, st.integers(-(2**63), 2**63 - 1), st.none() | st.integers(-(2**63), 2**63 - 1))
def test_an_add_carries_its_floor_only_with_the_flag(key: bytes, amount: int, floor: int | None) -> None:
    fields, _ = parsed(Add(key, amount, floor))
    assert (fields["amount"], fields["operation"]) == (amount, 5)
    assert fields["flags"] == (0 if floor is None else flag.FLOOR)
    assert struct.pack("<Q", fields["operand_lo"]) == struct.pack("<q", floor or 0)


def test_the_other_operations_use_their_fields_and_no_others() -> None:
    fields, payload = parsed(Append(b"event", 3, key=1 << 70, operand=9))
    assert (fields["operation"], fields["key_hi"], fields["operand_lo"], payload) == (1, 1 << 6, 9, b"event")
    fields, payload = parsed(Put(b"k", b"v"))
    assert (fields["operation"], fields["operand_hi"], fields["operand_lo"], payload) == (2, 1, 0, b"v")
    fields, payload = parsed(Delete(b"key"))
    assert (fields["operation"], fields["operand_hi"], payload) == (3, 3, b"")
    fields, payload = parsed(OpenAccount(5, overdraft=True))
    assert (fields["operation"], fields["key_lo"], fields["flags"], payload) == (7, 5, flag.OVERDRAFT, b"")


@pytest.mark.parametrize(
    "operation",
    [
        Transfer(1, 2, 0),
        Transfer(1, 2, -1),
        Transfer(1, 2, 1 << 63),
        Transfer(-1, 2, 1),
        Transfer(1, 1 << 128, 1),
        Transfer(1, 2, 1, namespace=65536),
        OpenAccount(1, namespace=-1),
        OpenAccount(1 << 128),
        Put(b"", b"value"),
        Put(b"k" * 1025, b""),
        Put(b"k" * 17, bytes((1 << 20) - 16)),
        Append(bytes((1 << 20) + 1)),
        Cas(b"k", b"", -1),
        Cas(b"k", b"", 1 << 64),
        Add(b"k", 1 << 63),
        Add(b"k", 1, floor=-(1 << 63) - 1),
    ],
    ids=repr,
)
def test_what_no_node_would_take_is_refused_before_it_is_sent(operation: Operation) -> None:
    with pytest.raises(InvalidOperation):
        operation.encode()


def test_a_chain_links_all_but_its_last() -> None:
    records, payloads = encode_chain([Put(b"a", b"1"), OpenAccount(1, overdraft=True), Append(b"23")])
    flags = np.frombuffer(b"".join(records), RECORD)["flags"].tolist()
    assert flags == [flag.LINKED, flag.LINKED | flag.OVERDRAFT, 0]
    assert payloads == b"123"


@pytest.mark.parametrize(
    "chain", [[], [Delete(b"k")] * 10_001, [Append(bytes(1 << 20))] * 5], ids=["0", "10001", "5MiB"]
)
def test_a_chain_that_no_frame_can_hold_is_refused(chain: list[Operation]) -> None:
    with pytest.raises(InvalidOperation):
        encode_chain(chain)


def test_numbers_are_the_contracts() -> None:
    for kind in (Append, Put, Delete, Cas, Add, Transfer, OpenAccount):
        name = "".join(f"_{c}" if c.isupper() else c for c in kind.__name__).upper()
        assert record_pb2.Operation.Value(f"OPERATION{name}") == kind.number
    for code in results.ResultCode:
        assert record_pb2.ResultCode.Value(f"RESULT_CODE_{code.name}") == int(code)
    assert len(results.ResultCode) == len(record_pb2.ResultCode.keys())
    for name in ("LINKED", "OVERDRAFT", "FLOOR"):
        assert record_pb2.Flag.Value(f"FLAG_{name}") == getattr(flag, name)
