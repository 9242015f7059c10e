"""Opcodes: what a transaction does, as an enumeration for programs that read or write records."""

from enum import IntEnum

from penstock.contract import opcode


class Opcode(IntEnum):
    """What a transaction does: the column ``operation``; the numbers of ``penstock.v1.Operation``."""

    APPEND = opcode.APPEND
    PUT = opcode.PUT
    DELETE = opcode.DELETE
    CAS = opcode.CAS
    ADD = opcode.ADD
    TRANSFER = opcode.TRANSFER
    OPEN_ACCOUNT = opcode.OPEN_ACCOUNT
    END_SESSION = opcode.END_SESSION
    SET_SESSION_BOUNDS = opcode.SET_SESSION_BOUNDS
    """Logged by a node itself, never accepted from a client."""
