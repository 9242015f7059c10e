"""The three pools that every node has, by what they hold, and how many: the specification's counts by default."""

from enum import StrEnum
from typing import Final


class PoolKind(StrEnum):
    """Names the typed pools."""

    TRANSACTIONS = "transactions"
    """Single records, ``RECORD[1]``, zeroed."""
    BLOCKS = "blocks"
    """Page-aligned ``uint8[n]`` that hold a block each, with whatever the last one left."""
    MESSAGES = "messages"
    """Buffers in a region that other processes of the host can map."""


TRANSACTIONS: Final = 10_000
BLOCKS: Final = 5_000
MESSAGES: Final = 50_000
