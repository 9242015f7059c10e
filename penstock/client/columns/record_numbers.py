"""Numbers in a record's columns: opcodes and flags, as enumerations for programs that read or write records."""

from enum import IntEnum, IntFlag

from penstock.contract import flag, opcode


class Opcode(IntEnum):
    """What a transaction does: the column ``operation``; the numbers of ``penstock.v1.Operation``."""

    APPEND = opcode.APPEND
    PUT = opcode.PUT
    DELETE = opcode.DELETE
    CAS = opcode.CAS
    ADD = opcode.ADD
    TRANSFER = opcode.TRANSFER
    OPEN_ACCOUNT = opcode.OPEN_ACCOUNT


class Flag(IntFlag):
    """Bits of the column ``flags``; the numbers of ``penstock.v1.Flag``."""

    LINKED = flag.LINKED
    """Chains a transaction to the next one: all of a chain take effect, or none."""
    OVERDRAFT = flag.OVERDRAFT
    """OPEN_ACCOUNT: the balance may go below 0."""
    FLOOR = flag.FLOOR
    """ADD: rejected with BELOW_FLOOR where the sum would be below the floor in ``operand_lo``."""
