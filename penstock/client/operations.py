"""Operations of transactions, one class each, and their encoding as records.

An operation encodes to a 64-byte record (``protos/penstock/v1/record.proto``) and its payload. The record's ids are
zero until the frame is sent, and are then written for all its records at once.
"""

import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from penstock.client.errors import InvalidOperation
from penstock.contract.flag import FLOOR, LINKED, OVERDRAFT
from penstock.contract.limits import (
    FRAME_PAYLOAD_BYTES_MAX,
    FRAME_RECORDS_MAX,
    KEY_BYTES_MAX,
    KEY_INLINE_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
)
from penstock.contract.opcode import ADD, APPEND, CAS, DELETE, OPEN_ACCOUNT, PUT, TRANSFER

_pack_accounts = struct.Struct("<16x16s16sqHBBI").pack
"""key, operand, amount, namespace, operation, flags, payload_length"""
_pack_keyed = struct.Struct("<16x16s8sQqHBBI").pack
"""key, operand's lower half, operand's upper half (the key's length), and the rest as above"""
_LOWER_ZERO: Final = bytes(8)
_FLAGS_OFFSET: Final = 59

Encoded = tuple[bytes, bytes]


def transfer_record(debit: int, credit: int, amount: int, namespace: int) -> bytes:
    """The record of a TRANSFER: a function of its own, since programs submit it by the million.

    Raises:
        InvalidOperation: a number is out of range.
    """
    try:
        if amount > 0:
            return _pack_accounts(
                debit.to_bytes(16, "little"), credit.to_bytes(16, "little"), amount, namespace, TRANSFER, 0, 0
            )
    except (OverflowError, struct.error) as error:
        raise InvalidOperation(_LIMITS) from error
    raise InvalidOperation(f"amount is {amount}, but a transfer moves at least 1")


_LIMITS: Final = (
    "out of range: accounts are integers of 0 to 2^128-1, amounts and floors of -2^63 to 2^63-1, "
    "versions of 0 to 2^64-1, namespaces of 0 to 65535"
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
    payload: bytes
    namespace: int = 0
    key: int = 0
    operand: int = 0

    def encode(self) -> Encoded:
        """See Operation."""
        _check_payload(self.payload)
        return _accounts(APPEND, self.key, self.operand, 0, self.namespace, 0, len(self.payload)), self.payload


@dataclass(frozen=True, slots=True)
class Put(Operation):
    """Sets a key's value. Keys are 1 to 1,024 bytes; key and value together, where the key is long, up to 1 MiB."""

    number: ClassVar[int] = PUT
    key: bytes
    value: bytes
    namespace: int = 0

    def encode(self) -> Encoded:
        """See Operation."""
        return _keyed(PUT, self.key, self.value, self.namespace)


@dataclass(frozen=True, slots=True)
class Delete(Operation):
    """Removes a key's value; KEY_NOT_FOUND where it has none."""

    number: ClassVar[int] = DELETE
    key: bytes
    namespace: int = 0

    def encode(self) -> Encoded:
        """See Operation."""
        return _keyed(DELETE, self.key, b"", self.namespace)


@dataclass(frozen=True, slots=True)
class Cas(Operation):
    """Sets a key's value where its version is the expected one, else VERSION_MISMATCH; 0: the key must not exist."""

    number: ClassVar[int] = CAS
    key: bytes
    value: bytes
    expected_version: int
    namespace: int = 0

    def encode(self) -> Encoded:
        """See Operation."""
        return _keyed(CAS, self.key, self.value, self.namespace, lower=_word(self.expected_version, signed=False))


@dataclass(frozen=True, slots=True)
class Add(Operation):
    """Adds to a counter, which starts at 0; BELOW_FLOOR where the sum would be below ``floor``, if one is given."""

    number: ClassVar[int] = ADD
    key: bytes
    amount: int
    floor: int | None = None
    namespace: int = 0

    def encode(self) -> Encoded:
        """See Operation."""
        if self.floor is None:
            return _keyed(ADD, self.key, b"", self.namespace, amount=self.amount)
        lower = _word(self.floor, signed=True)
        return _keyed(ADD, self.key, b"", self.namespace, lower=lower, amount=self.amount, flags=FLOOR)


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
        flags = OVERDRAFT if self.overdraft else 0
        return _accounts(OPEN_ACCOUNT, self.account, 0, 0, self.namespace, flags, 0), b""


def encode_chain(operations: Sequence[Operation]) -> tuple[list[bytes], bytes]:
    """The records of a chain, all but the last LINKED, and their payloads one after the other.

    Raises:
        InvalidOperation: the chain is empty or larger than a frame, or no node would take one of the operations.
    """
    if not 1 <= len(operations) <= FRAME_RECORDS_MAX:
        raise InvalidOperation(f"a chain is 1 to {FRAME_RECORDS_MAX} transactions, not {len(operations)}")
    encoded = [operation.encode() for operation in operations]
    payloads = b"".join(payload for _, payload in encoded)
    if len(payloads) > FRAME_PAYLOAD_BYTES_MAX:
        raise InvalidOperation(f"a chain's payloads hold up to {FRAME_PAYLOAD_BYTES_MAX} bytes, not {len(payloads)}")
    linked = [_linked(record) for record, _ in encoded[:-1]]
    return [*linked, encoded[-1][0]], payloads


def _linked(record: bytes) -> bytes:
    return record[:_FLAGS_OFFSET] + bytes((record[_FLAGS_OFFSET] | LINKED,)) + record[_FLAGS_OFFSET + 1 :]


def _accounts(
    operation: int, key: int, operand: int, amount: int, namespace: int, flags: int, payload_length: int
) -> bytes:
    try:
        return _pack_accounts(
            key.to_bytes(16, "little"),
            operand.to_bytes(16, "little"),
            amount,
            namespace,
            operation,
            flags,
            payload_length,
        )
    except (OverflowError, struct.error) as error:
        raise InvalidOperation(_LIMITS) from error


def _keyed(
    operation: int,
    key: bytes,
    value: bytes,
    namespace: int,
    *,
    lower: bytes = _LOWER_ZERO,
    amount: int = 0,
    flags: int = 0,
) -> Encoded:
    if not 1 <= len(key) <= KEY_BYTES_MAX:
        raise InvalidOperation(f"a key is 1 to {KEY_BYTES_MAX} bytes, not {len(key)}")
    inline = len(key) <= KEY_INLINE_BYTES_MAX
    payload = value if inline else key + value
    _check_payload(payload)
    head = key if inline else b""
    try:
        record = _pack_keyed(head, lower, len(key), amount, namespace, operation, flags, len(payload))
    except struct.error as error:
        raise InvalidOperation(_LIMITS) from error
    return record, payload


def _word(number: int, *, signed: bool) -> bytes:
    try:
        return number.to_bytes(8, "little", signed=signed)
    except OverflowError as error:
        raise InvalidOperation(_LIMITS) from error


def _check_payload(payload: bytes) -> None:
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise InvalidOperation(f"a transaction's payload is up to {PAYLOAD_BYTES_MAX} bytes, not {len(payload)}")
