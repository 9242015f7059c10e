"""Result codes: one byte for each transaction. They are those of ``record.proto``; a test holds the two together."""

from typing import Final

OK: Final = 1
KEY_NOT_FOUND: Final = 2
VERSION_MISMATCH: Final = 3
OVERFLOW: Final = 4
BELOW_FLOOR: Final = 5
INSUFFICIENT_FUNDS: Final = 6
ACCOUNT_NOT_FOUND: Final = 7
SAME_ACCOUNT: Final = 8
ACCOUNT_EXISTS: Final = 9
LINKED_FAILED: Final = 10
SEQUENCE_EXPIRED: Final = 11
SESSIONS_EXHAUSTED: Final = 12
SEQUENCE_REUSED: Final = 13
DUPLICATE: Final = 128
"""Set on top of a result code where the transaction had been applied before."""
