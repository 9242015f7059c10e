"""Blocks of a chain, as a sequencer would seal them, for the tests."""

from pathlib import Path

import numpy as np

from penstock.host.clock import SYSTEM_CLOCK, Clock
from penstock.host.executor import THREADS, Executor
from pooling.buffers import aligned_buffer
from replication.log.ballot import Ballot
from replication.log.block import HEADER_BYTES, Block, stored_bytes
from replication.log.disk import Disk
from replication.log.recovery.recovery import recover
from replication.log.recovery.replay import read_blocks
from replication.log.write_ahead_log import WriteAheadLog

CLUSTER = 0xC0FFEE
SEGMENT_BYTES = 64 << 10


def seal_after(
    log: WriteAheadLog, count: int, payload_bytes: int = 0, previous: Block | None = None, epoch: int = 1
) -> Block:
    """Seal a block that follows ``previous``, or the log's last; another ``epoch`` makes it another block."""
    buffer = aligned_buffer(stored_bytes(count, payload_bytes))
    last_index = previous.index if previous else log.last_index
    body = np.random.default_rng(last_index).integers(1, 256, count * 64 + payload_bytes, np.uint8)
    buffer[HEADER_BYTES : HEADER_BYTES + body.size] = body
    return Block.seal(
        buffer,
        cluster_id=log.cluster_id,
        ballot=Ballot(epoch, 0),
        index=last_index + 1,
        first_position=previous.next_position if previous else log.last_position,
        count=count,
        payload_bytes=payload_bytes,
        time_ns=1_700_000_000_000_000_000 + last_index,
        previous_hash=previous.hash if previous else log.last_hash,
        durable_index=log.durable_index,
        log_id=log.log_id,
    )


def append(log: WriteAheadLog, counts: list[int], *, sync: bool = True, epoch: int = 1) -> list[Block]:
    """Seal blocks of so many records and append them in one call."""
    blocks: list[Block] = []
    for count in counts:
        blocks.append(seal_after(log, count, previous=blocks[-1] if blocks else None, epoch=epoch))
    log.append(blocks)
    if sync:
        log.sync()
    return blocks


def hashes(log: WriteAheadLog, from_index: int = 1) -> list[bytes]:
    """Hashes of the blocks read back."""
    return [block.hash for block in log.read(from_index)]


def replayed(log: WriteAheadLog, to_index: int | None = None) -> list[bytes]:
    """Hashes of the blocks that a replay gives."""
    found: list[bytes] = []
    log.replay(lambda block: found.append(block.hash), to_index=to_index)
    return found


def recovered(directory: Path) -> tuple[int, list[bytes]]:
    """Last index and hashes of the blocks of a log that nobody has open; changes nothing."""
    found = recover(directory, CLUSTER, Disk())
    return found.tip.index, [block.hash for block in read_blocks(found.segments, found.tip.index, Disk())]


def flip(path: Path, offset: int) -> None:
    """Damage one bit of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 4]))


def contents(directory: Path) -> dict[str, bytes]:
    """The segments' bytes, to see that nothing was changed."""
    return {path.name: path.read_bytes() for path in sorted(directory.glob("*.segment"))}


def open_log(
    directory: Path,
    disk: Disk | None = None,
    mode: str = "block",
    clock: Clock = SYSTEM_CLOCK,
    executor: Executor = THREADS,
) -> WriteAheadLog:
    """Open a log of small segments."""
    return WriteAheadLog.open(
        directory,
        CLUSTER,
        segment_bytes=SEGMENT_BYTES,
        sync_mode=mode,
        interval_ms=5,
        disk=disk,
        clock=clock,
        executor=executor,
    )
