"""Wanted: which transactions of a block are looked for, by client, key, account or position."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from penstock.client.watching.decoding import KEY_LENGTH_MASK
from penstock.contract import opcode
from penstock.contract.limits import KEY_INLINE_BYTES_MAX
from replication.log.block import Block
from services.cli.inspection.transactions import Records, records_of

_KEYED: Final = (opcode.PUT, opcode.DELETE, opcode.CAS, opcode.ADD)
_WORD: Final = 0xFFFF_FFFF_FFFF_FFFF
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a transaction has to be, in all that is given."""

    client_id: int | None = None
    key: bytes | None = None
    account: int | None = None
    """Either side of a transfer, or an account that is opened."""
    namespace: int | None = None
    position: int | None = None

    def numbers(self, block: Block) -> list[int]:
        """Return which of a block's transactions are wanted, counted from 0 within the block."""
        records = records_of(block)
        wanted: Mask = np.ones(block.count, np.bool_)
        if self.client_id is not None:
            wanted &= records["client_id"] == self.client_id
        if self.namespace is not None:
            wanted &= records["namespace"] == self.namespace
        if self.position is not None:
            wanted &= np.arange(block.first_position, block.next_position) == self.position
        if self.account is not None:
            wanted &= _touches(records, self.account)
        if self.key is not None:
            wanted &= _may_have(records, self.key)
            if len(self.key) > KEY_INLINE_BYTES_MAX:
                return [number for number in _numbers(wanted) if _has_long(block, records, number, self.key)]
        return _numbers(wanted)


def _numbers(mask: Mask) -> list[int]:
    numbers: list[int] = np.flatnonzero(mask).tolist()
    return numbers


def _touches(records: Records, account: int) -> Any:
    low, high = account & _WORD, account >> 64
    is_transfer = records["operation"] == opcode.TRANSFER
    named = is_transfer | (records["operation"] == opcode.OPEN_ACCOUNT)
    from_it = named & (records["key_lo"] == low) & (records["key_hi"] == high)
    to_it = is_transfer & (records["operand_lo"] == low) & (records["operand_hi"] == high)
    return from_it | to_it


def _may_have(records: Records, key: bytes) -> Any:
    """Tell which records have a short ``key``, or a long one of its length."""
    short = key if len(key) <= KEY_INLINE_BYTES_MAX else b""
    number = int.from_bytes(short, "little")
    return (
        np.isin(records["operation"], _KEYED)
        & ((records["operand_hi"] & np.uint64(KEY_LENGTH_MASK)) == len(key))
        & (records["key_lo"] == (number & _WORD))
        & (records["key_hi"] == number >> 64)
    )


def _has_long(block: Block, records: Records, number: int, key: bytes) -> bool:
    start = int(records["payload_length"][:number].sum(dtype=np.int64))
    return block.payloads[start : start + len(key)].tobytes() == key
