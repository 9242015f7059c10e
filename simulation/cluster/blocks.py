"""Blocks of a simulated cluster: sealed with real headers, and what the protocol sees of them."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from penstock.contract import opcode
from penstock.contract.record import RECORD_WORDS, WORD_AMOUNT, WORD_CLIENT, WORD_KEY_LO, WORD_META, WORD_SEQUENCE
from pooling.buffers import aligned_buffer
from replication.consensus.interface.header import Tip
from replication.log.ballot import Ballot
from replication.log.block import HEADER_BYTES, NO_HASH, Block, BlockKind, stored_bytes
from simulation.cluster.wire import Submission

CLUSTER_ID: Final = 0x51
_GENERATION: Final = 1
_WORD_OPERAND_HI: Final = 5
_KEY_BYTES: Final = 8


def seal(
    ballot: Ballot,
    tip: Tip,
    time_ns: int,
    submissions: Sequence[Submission] = (),
    *,
    log_id: int,
    durable_index: int,
) -> Block:
    """Seal a block of transactions behind ``tip``; without any, the empty one that opens a ballot.

    ``log_id`` and ``durable_index`` are those of the log that it is sealed for.
    """
    count = len(submissions)
    buffer = aligned_buffer(stored_bytes(count, 0))
    words = buffer[HEADER_BYTES : HEADER_BYTES + count * RECORD_WORDS * 8].view(np.uint64).reshape(-1, RECORD_WORDS)
    for row, submission in zip(words, submissions, strict=True):
        row[WORD_CLIENT] = row[WORD_KEY_LO] = submission.client
        row[WORD_SEQUENCE] = submission.sequence
        row[_WORD_OPERAND_HI] = _KEY_BYTES
        row[WORD_AMOUNT] = 1
        row[WORD_META] = opcode.ADD << 16
    return Block.seal(
        buffer,
        cluster_id=CLUSTER_ID,
        ballot=ballot,
        generation=_GENERATION,
        log_id=log_id,
        index=tip.index + 1,
        first_position=tip.next_position,
        count=count,
        payload_bytes=0,
        time_ns=time_ns,
        previous_hash=tip.hash or NO_HASH,
        durable_index=durable_index,
        kind=BlockKind.TRANSACTIONS if count else BlockKind.EPOCH,
    )
