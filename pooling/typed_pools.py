"""The typed pools of a node: their names, the specification's counts, and what is in force."""

from enum import StrEnum


class PoolKind(StrEnum):
    """Names of the typed pools.

    The specification preallocates 10,000 transactions, 5,000 blocks and 50,000 message buffers. A node makes objects
    when they are first needed, unless its settings say ``pooling.preallocate``, and bounds how many there may be.
    """

    TRANSACTIONS = "transactions"
    """Single records, ``RECORD[1]``, zeroed. At most ``pooling.transactions``, by default the specification's count."""
    BLOCKS = "blocks"
    """Page-aligned ``uint8[n]``, each for one block, with whatever the last one left in it.

    Their number is how many blocks may be under way between ring and tables, and is bounded by their memory
    (``pooling.block_bytes_max``): 17 by default. 5,000 of them would take 23 GB, and make queues longer instead of the
    node faster.
    """
    MESSAGES = "messages"
    """Buffers that other processes of the host can map. At most ``pooling.messages``, by default the specification's
    count."""
