"""Keys become columns in their order, entries come back in the same, and a key that cannot be read is named."""

import numpy as np
import pytest

from penstock.contract.reasons import Reason
from penstock.v1 import state_pb2
from services.admission.namespaces import NamespaceSet
from services.rpc.key_codec import columns_of, entries_of, refusal_of
from statestore.kernel.layout import KIND_ACCOUNT, KIND_COUNTER, KIND_VALUE
from statestore.reads import Entries

KEYS = [
    state_pb2.Key(namespace=1, value=b"a"),
    state_pb2.Key(namespace=0, counter=b"bcd"),
    state_pb2.Key(namespace=1, account=b"e" * 16),
]
ADMITTED = NamespaceSet([0, 1])


def test_columns_have_the_keys_in_their_order() -> None:
    kinds, namespaces, lengths, names = columns_of(KEYS)
    assert kinds.tolist() == [KIND_VALUE, KIND_COUNTER, KIND_ACCOUNT]
    assert namespaces.tolist() == [1, 0, 1]
    assert lengths.tolist() == [1, 3, 16]
    assert names.tobytes() == b"abcd" + b"e" * 16
    assert [column.dtype for column in (kinds, namespaces, lengths, names)] == [
        np.uint8,
        np.uint16,
        np.uint16,
        np.uint8,
    ]


def test_entries_come_back_in_the_order_of_the_keys() -> None:
    found = Entries(
        found=np.array([True, False, True]),
        versions=np.array([4, 0, 6], np.uint64),
        amounts=np.array([0, 0, -7], np.int64),
        overdrafts=np.array([False, False, True]),
        value_offsets=np.array([0, 2, 2, 2], np.uint64),
        values=np.frombuffer(b"xy", np.uint8),
    )
    assert entries_of(KEYS, found) == [
        state_pb2.Entry(found=True, version=4, value=b"xy"),
        state_pb2.Entry(),
        state_pb2.Entry(found=True, version=6, amount=-7, overdraft=True),
    ]


@pytest.mark.parametrize(
    ("key", "reason", "field"),
    [
        (state_pb2.Key(), Reason.KEY_MISSING, ""),
        (state_pb2.Key(namespace=65_536, value=b"a"), Reason.NAMESPACE_INVALID, ".namespace"),
        (state_pb2.Key(namespace=2, value=b"a"), Reason.NAMESPACE_NOT_ALLOWED, ".namespace"),
        (state_pb2.Key(value=b""), Reason.KEY_LENGTH_INVALID, ".value"),
        (state_pb2.Key(counter=bytes(1025)), Reason.KEY_LENGTH_INVALID, ".counter"),
        (state_pb2.Key(account=bytes(15)), Reason.ACCOUNT_INVALID, ".account"),
    ],
)
def test_the_first_key_at_fault_is_named(key: state_pb2.Key, reason: Reason, field: str) -> None:
    refusal = refusal_of([*KEYS, key, state_pb2.Key()], ADMITTED)
    assert refusal is not None
    assert (refusal.reason, refusal.field) == (reason, f"keys[3]{field}")


def test_keys_at_their_bounds_can_be_read() -> None:
    assert refusal_of([*KEYS, state_pb2.Key(value=bytes(1024)), state_pb2.Key(counter=b"\0")], ADMITTED) is None
