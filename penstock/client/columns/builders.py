"""Builders of columns, one for each operation.

    receipts = client.submit_records(penstock.transfers(debit=payers, credit=payees, amount=cents))

An argument is a column, one value for each transaction: a numpy array, a sequence, or what numpy makes an array of, as
columns of Arrow and pandas are. A single value holds for all transactions. Everything is checked before anything is
built; columns of numbers are checked and built at numpy's speed.
"""

from itertools import chain

import numpy as np
import numpy.typing as npt

from penstock.client.columns.column_values import (
    I64,
    NAMESPACE,
    POSITIVE,
    U64,
    BytesColumn,
    accounts,
    byte_strings,
    integers,
    lengths,
    rows_of,
)
from penstock.client.columns.columns import Columns
from penstock.client.columns.opcodes import Opcode
from penstock.client.errors import InvalidOperation
from penstock.contract.flag import FLOOR, OVERDRAFT
from penstock.contract.limits import KEY_BYTES_MAX, KEY_INLINE_BYTES_MAX, PAYLOAD_BYTES_MAX
from penstock.contract.record import RECORD


def transfers(
    debit: npt.ArrayLike, credit: npt.ArrayLike, amount: npt.ArrayLike, *, namespace: npt.ArrayLike = 0
) -> Columns:
    """Transfers, as `Transfer`: amounts of 1 to 2^63-1.

    Accounts are integers of 0 to 2^128-1, or uint64[n, 2] with the lower halves first.

    Raises:
        InvalidOperation: a value is none of these, or the columns differ in length; it names the argument and the row.
    """
    payers, payees = accounts("debit", debit), accounts("credit", credit)
    amounts = integers("amount", amount, POSITIVE)
    spaces = integers("namespace", namespace, NAMESPACE)
    rows = rows_of(
        {"debit": payers[0].size, "credit": payees[0].size, "amount": amounts.size, "namespace": spaces.size}
    )
    records = _records(rows, Opcode.TRANSFER, spaces)
    records["key_lo"], records["key_hi"] = payers
    records["operand_lo"], records["operand_hi"] = payees
    records["amount"] = amounts
    return Columns(records, b"")


def open_accounts(account: npt.ArrayLike, *, overdraft: npt.ArrayLike = False, namespace: npt.ArrayLike = 0) -> Columns:
    """Openings of accounts, as `OpenAccount`; ``overdraft`` is bool, or bool[n].

    Accounts are integers of 0 to 2^128-1, or uint64[n, 2] with the lower halves first.

    Raises:
        InvalidOperation: a value is none of these, or the columns differ in length; it names the argument and the row.
    """
    opened, spaces = accounts("account", account), integers("namespace", namespace, NAMESPACE)
    may_overdraw = np.asarray(overdraft)
    if may_overdraw.dtype != np.bool_ or may_overdraw.ndim > 1:
        raise InvalidOperation("overdraft must be True, False, or a column of these")
    rows = rows_of({"account": opened[0].size, "overdraft": may_overdraw.size, "namespace": spaces.size})
    records = _records(rows, Opcode.OPEN_ACCOUNT, spaces)
    records["key_lo"], records["key_hi"] = opened
    records["flags"] = may_overdraw * np.uint8(OVERDRAFT)
    return Columns(records, b"")


def puts(key: BytesColumn, value: BytesColumn, *, namespace: npt.ArrayLike = 0) -> Columns:
    """Settings of values, as `Put`: keys of 1 to 1,024 bytes; a long key and its value take up to 1 MiB together.

    Raises:
        InvalidOperation: a value is none of these, or the columns differ in length; it names the argument and the row.
    """
    return _keyed(Opcode.PUT, key, value, namespace)


def deletes(key: BytesColumn, *, namespace: npt.ArrayLike = 0) -> Columns:
    """Removals of values, as `Delete`: keys of 1 to 1,024 bytes.

    Raises:
        InvalidOperation: a value is none of these, or the columns differ in length; it names the argument and the row.
    """
    return _keyed(Opcode.DELETE, key, b"", namespace)


def cas(
    key: BytesColumn, value: BytesColumn, expected_version: npt.ArrayLike, *, namespace: npt.ArrayLike = 0
) -> Columns:
    """Conditional settings of values, as `Cas`: as `puts`, and versions of 0 to 2^64-1.

    Raises:
        InvalidOperation: a value is none of these, or the columns differ in length; it names the argument and the row.
    """
    versions = integers("expected_version", expected_version, U64)
    built = _keyed(Opcode.CAS, key, value, namespace, {"expected_version": versions.size})
    built.records["operand_lo"] = versions
    return built


def adds(
    key: BytesColumn, amount: npt.ArrayLike, *, floor: npt.ArrayLike | None = None, namespace: npt.ArrayLike = 0
) -> Columns:
    """Additions to counters, as `Add`: keys of 1 to 1,024 bytes; amounts and floors of -2^63 to 2^63-1.

    Raises:
        InvalidOperation: a value is none of these, or the columns differ in length; it names the argument and the row.
    """
    amounts = integers("amount", amount, I64)
    floors = None if floor is None else integers("floor", floor, I64)
    sizes: dict[str, int | None] = {"amount": amounts.size, "floor": None if floors is None else floors.size}
    built = _keyed(Opcode.ADD, key, b"", namespace, sizes)
    built.records["amount"] = amounts
    if floors is not None:
        built.records["operand_lo"] = floors.astype(np.int64).view(np.uint64)
        built.records["flags"] = FLOOR
    return built


def appends(
    payload: BytesColumn, *, key: npt.ArrayLike = 0, operand: npt.ArrayLike = 0, namespace: npt.ArrayLike = 0
) -> Columns:
    """Payloads to order, store and publish, as `Append`: up to 1 MiB each; ``key`` and ``operand`` are free.

    Raises:
        InvalidOperation: a value is none of these, or the columns differ in length; it names the argument and the row.
    """
    payloads = byte_strings("payload", payload)
    sizes = lengths("payload", payloads, 0, PAYLOAD_BYTES_MAX)
    keys, operands = accounts("key", key), accounts("operand", operand)
    spaces = integers("namespace", namespace, NAMESPACE)
    rows = rows_of(
        {"payload": len(payloads), "key": keys[0].size, "operand": operands[0].size, "namespace": spaces.size}
    )
    records = _records(rows, Opcode.APPEND, spaces)
    records["key_lo"], records["key_hi"] = keys
    records["operand_lo"], records["operand_hi"] = operands
    records["payload_length"] = sizes
    return Columns(records, b"".join(_repeated(payloads, rows)))


def _keyed(
    operation: Opcode,
    key: BytesColumn,
    value: BytesColumn,
    namespace: npt.ArrayLike,
    sizes: dict[str, int | None] | None = None,
) -> Columns:
    """Columns of an operation on keys of bytes; ``sizes`` are those of its further columns."""
    keys, values = byte_strings("key", key), byte_strings("value", value)
    spaces = integers("namespace", namespace, NAMESPACE)
    rows = rows_of({"key": len(keys), "value": len(values), "namespace": spaces.size, **(sizes or {})})
    keys, values = _repeated(keys, rows), _repeated(values, rows)
    key_bytes = lengths("key", keys, 1, KEY_BYTES_MAX)
    payload_bytes = lengths("value", values, 0, PAYLOAD_BYTES_MAX)
    is_long = key_bytes > KEY_INLINE_BYTES_MAX
    heads = keys
    if is_long.any():  # a long key is the head of its payload, and its place in the record is zero
        payload_bytes = payload_bytes + key_bytes * is_long
        too_long = np.flatnonzero(payload_bytes > PAYLOAD_BYTES_MAX)
        if len(too_long):
            raise InvalidOperation(
                f"key[{too_long[0]}] and its value have {payload_bytes[too_long[0]]} bytes together, but a payload "
                f"has up to {PAYLOAD_BYTES_MAX}"
            )
        long = is_long.tolist()
        heads = [b"" if far else key for key, far in zip(keys, long, strict=True)]
        leading = [key if far else b"" for key, far in zip(keys, long, strict=True)]
        values = list(chain.from_iterable(zip(leading, values, strict=True)))
    records = _records(rows, operation, spaces)
    inline = np.array(heads, f"S{KEY_INLINE_BYTES_MAX}").view(np.uint64).reshape(rows, 2)
    records["key_lo"], records["key_hi"] = inline[:, 0], inline[:, 1]
    records["operand_hi"] = key_bytes
    records["payload_length"] = payload_bytes
    return Columns(records, b"".join(values))


def _records(rows: int, operation: Opcode, namespaces: npt.ArrayLike) -> npt.NDArray[np.void]:
    records = np.zeros(rows, RECORD)
    records["operation"] = operation
    records["namespace"] = namespaces
    return records


def _repeated(values: list[bytes], rows: int) -> list[bytes]:
    return values * rows if len(values) == 1 else values
