"""Operations of transactions, one class each, and their encoding as records.

An operation encodes to a 64-byte record (``protos/penstock/v1/record.proto``) and its payload. The record's ids are
zero until the frame is sent, and are then written for all its records at once.
"""

import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from penstock.client.arguments import boolean, integer, namespace_number, octets, several
from penstock.client.errors import InvalidOperation
from penstock.contract.flag import FLOOR, LINKED, OVERDRAFT
from penstock.contract.frame_codec import Bytes
from penstock.contract.limits import (
    FRAME_PAYLOAD_BYTES_MAX,
    FRAME_RECORDS_MAX,
    KEY_BYTES_MAX,
    KEY_INLINE_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
)
from penstock.contract.opcode import ADD, APPEND, CAS, DELETE, OPEN_ACCOUNT, PUT, TRANSFER
from penstock.contract.record import RECORD_BYTES

_pack_accounts = struct.Struct("<16x16s16sqHBBI").pack
"""key, operand, amount, namespace, operation, flags, payload_length"""
_pack_keyed = struct.Struct("<16x16s8sQqHBBI").pack
"""key, operand's lower half, operand's upper half (the key's length), and the rest as above"""
_read_length = struct.Struct("<I").unpack_from
_LOWER_ZERO: Final = bytes(8)
_FLAGS_OFFSET: Final = 59
_ACCOUNT_MAX: Final = (1 << 128) - 1
_AMOUNT_MIN: Final = -(1 << 63)
_AMOUNT_MAX: Final = (1 << 63) - 1
_VERSION_MAX: Final = (1 << 64) - 1

Encoded = tuple[bytes, bytes]


def transfer_record(debit: int, credit: int, amount: int, namespace: int) -> bytes:
    """The record of a TRANSFER: a function of its own, since programs submit it by the million.

    Raises:
        InvalidOperation: an argument is no integer, or out of range.
    """
    if type(debit) is type(credit) is type(amount) is type(namespace) is int and amount > 0:
        try:
            return _pack_accounts(
                debit.to_bytes(16, "little"), credit.to_bytes(16, "little"), amount, namespace, TRANSFER, 0, 0
            )
        except (OverflowError, struct.error):
            pass  # what follows names the argument
    return _pack_accounts(
        _account(debit, "debit"),
        _account(credit, "credit"),
        integer(amount, "amount", 1, _AMOUNT_MAX),
        namespace_number(namespace),
        TRANSFER,
        0,
        0,
    )


@dataclass(frozen=True, slots=True)
class Operation(ABC):
    """One transaction to submit."""

    number: ClassVar[int]
    """``penstock.v1.Operation``"""

    @abstractmethod
    def encode(self) -> Encoded:
        """The record (64 bytes, ids zero) and the payload.

        Raises:
            InvalidOperation: no node would take it.
        """


@dataclass(frozen=True, slots=True)
class Append(Operation):
    """Orders, stores and publishes a payload of up to 1 MiB; changes no state. ``key`` and ``operand`` are free."""

    number: ClassVar[int] = APPEND
    payload: Bytes
    namespace: int = 0
    key: int = 0
    operand: int = 0

    def encode(self) -> Encoded:
        """See Operation."""
        payload = octets(self.payload, "payload", 0, PAYLOAD_BYTES_MAX)
        key, operand = _account(self.key, "key"), _account(self.operand, "operand")
        return _pack_accounts(key, operand, 0, namespace_number(self.namespace), APPEND, 0, len(payload)), payload


@dataclass(frozen=True, slots=True)
class Put(Operation):
    """Sets a key's value. Keys are 1 to 1,024 bytes; key and value together, where the key is long, up to 1 MiB."""

    number: ClassVar[int] = PUT
    key: Bytes
    value: Bytes
    namespace: int = 0

    def encode(self) -> Encoded:
        """See Operation."""
        return _keyed(PUT, self.key, self.value, self.namespace)


@dataclass(frozen=True, slots=True)
class Delete(Operation):
    """Removes a key's value; KEY_NOT_FOUND where it has none."""

    number: ClassVar[int] = DELETE
    key: Bytes
    namespace: int = 0

    def encode(self) -> Encoded:
        """See Operation."""
        return _keyed(DELETE, self.key, b"", self.namespace)


@dataclass(frozen=True, slots=True)
class Cas(Operation):
    """Sets a key's value where its version is the expected one, else VERSION_MISMATCH; 0: the key must not exist."""

    number: ClassVar[int] = CAS
    key: Bytes
    value: Bytes
    expected_version: int
    namespace: int = 0

    def encode(self) -> Encoded:
        """See Operation."""
        return _keyed(CAS, self.key, self.value, self.namespace, lower=_version(self.expected_version))


@dataclass(frozen=True, slots=True)
class Add(Operation):
    """Adds to a counter, which starts at 0; BELOW_FLOOR where the sum would be below ``floor``, if one is given."""

    number: ClassVar[int] = ADD
    key: Bytes
    amount: int
    floor: int | None = None
    namespace: int = 0

    def encode(self) -> Encoded:
        """See Operation."""
        amount = integer(self.amount, "amount", _AMOUNT_MIN, _AMOUNT_MAX)
        if self.floor is None:
            return _keyed(ADD, self.key, b"", self.namespace, amount=amount)
        lower = integer(self.floor, "floor", _AMOUNT_MIN, _AMOUNT_MAX).to_bytes(8, "little", signed=True)
        return _keyed(ADD, self.key, b"", self.namespace, lower=lower, amount=amount, flags=FLOOR)


@dataclass(frozen=True, slots=True)
class Transfer(Operation):
    """Moves an amount of at least 1 from the debit account to the credit account, both or neither."""

    number: ClassVar[int] = TRANSFER
    debit: int
    credit: int
    amount: int
    namespace: int = 0

    def encode(self) -> Encoded:
        """See Operation."""
        return transfer_record(self.debit, self.credit, self.amount, self.namespace), b""


@dataclass(frozen=True, slots=True)
class OpenAccount(Operation):
    """Creates an account with a balance of 0; with ``overdraft`` it may go below."""

    number: ClassVar[int] = OPEN_ACCOUNT
    account: int
    overdraft: bool = False
    namespace: int = 0

    def encode(self) -> Encoded:
        """See Operation."""
        flags = OVERDRAFT if boolean(self.overdraft, "overdraft") else 0
        account, namespace = _account(self.account, "account"), namespace_number(self.namespace)
        return _pack_accounts(account, bytes(16), 0, namespace, OPEN_ACCOUNT, flags, 0), b""


_OWN: Final = frozenset((Append, Put, Delete, Cas, Add, Transfer, OpenAccount))


def encode(operation: Operation) -> Encoded:
    """The record and the payload of whatever was given as an operation, checked whole.

    Raises:
        InvalidOperation: it is no operation, or no node would take it.
    """
    if type(operation) in _OWN:
        return operation.encode()
    if not isinstance(operation, Operation):
        raise InvalidOperation(f"operation must be an Operation, not {type(operation).__name__}")
    record, payload = operation.encode()
    name = type(operation).__name__
    record, payload = octets(record, name, RECORD_BYTES, RECORD_BYTES), octets(payload, name, 0, PAYLOAD_BYTES_MAX)
    length = _read_length(record, RECORD_BYTES - 4)[0]
    if length != len(payload):
        raise InvalidOperation(f"{name} encodes a payload of {len(payload)} bytes, but its record says {length}")
    return record, payload


def encode_chain(operations: Sequence[Operation]) -> tuple[list[bytes], bytes]:
    """The records of a chain, all but the last LINKED, and their payloads one after the other.

    Raises:
        InvalidOperation: the chain is empty or larger than a frame, or no node would take one of the operations.
    """
    operations = several(operations, "operations")
    if not 1 <= len(operations) <= FRAME_RECORDS_MAX:
        raise InvalidOperation(f"a chain is 1 to {FRAME_RECORDS_MAX} transactions, not {len(operations)}")
    encoded = [encode(operation) for operation in operations]
    payloads = b"".join(payload for _, payload in encoded)
    if len(payloads) > FRAME_PAYLOAD_BYTES_MAX:
        raise InvalidOperation(f"a chain's payloads hold up to {FRAME_PAYLOAD_BYTES_MAX} bytes, not {len(payloads)}")
    linked = [_linked(record) for record, _ in encoded[:-1]]
    return [*linked, encoded[-1][0]], payloads


def _linked(record: bytes) -> bytes:
    return record[:_FLAGS_OFFSET] + bytes((record[_FLAGS_OFFSET] | LINKED,)) + record[_FLAGS_OFFSET + 1 :]


def _account(value: int, name: str) -> bytes:
    return integer(value, name, 0, _ACCOUNT_MAX).to_bytes(16, "little")


def _version(value: int) -> bytes:
    return integer(value, "expected_version", 0, _VERSION_MAX).to_bytes(8, "little")


def _keyed(
    operation: int,
    key: Bytes,
    value: Bytes,
    namespace: int,
    *,
    lower: bytes = _LOWER_ZERO,
    amount: int = 0,
    flags: int = 0,
) -> Encoded:
    name = octets(key, "key", 1, KEY_BYTES_MAX)
    namespace = namespace_number(namespace)
    if len(name) <= KEY_INLINE_BYTES_MAX:
        payload = octets(value, "value", 0, PAYLOAD_BYTES_MAX)
        return _pack_keyed(name, lower, len(name), amount, namespace, operation, flags, len(payload)), payload
    payload = name + octets(value, "value", 0, PAYLOAD_BYTES_MAX - len(name))
    return _pack_keyed(b"", lower, len(name), amount, namespace, operation, flags, len(payload)), payload
