"""``penstock log``: a write-ahead log, printed and checked. Changes nothing.

Exit codes: 0 all is well, 1 the log is corrupted, 2 it cannot be read as asked.
"""

import contextlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from penstock.contract import flag, opcode
from penstock.contract.record import RECORD
from replication.log.block import Block, BlockKind
from replication.log.directory.directory_lock import DirectoryLock
from replication.log.directory.durable_watermark import read_durable_watermark
from replication.log.directory.log_metadata import read_metadata
from replication.log.disk import Disk
from replication.log.errors import LogCorrupted, LogError, LogInUse
from replication.log.recovery import find_segments, read_blocks, recover

_OPERATIONS: Final = {number: name for name, number in vars(opcode).items() if isinstance(number, int)}
_FLAGS: Final = {flag.LINKED: "LINKED", flag.OVERDRAFT: "OVERDRAFT", flag.FLOOR: "FLOOR"}
_directory = click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))


@click.group()
def log() -> None:
    """Look into a write-ahead log, and check it."""


@log.command()
@_directory
@click.option("--from", "first", type=click.IntRange(1), default=1, show_default=True, help="First block.")
@click.option("--to", "last", type=click.IntRange(1), help="Last block; the log's last where not given.")
@click.option("--records/--headers", default=False, help="Every transaction, or one line per block (the default).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def dump(directory: Path, first: int, last: int | None, records: bool, as_json: bool) -> None:
    """Print the blocks of the log in DIRECTORY, or their transactions.

    A log that a node has open is printed up to the block known to be durable about a second ago.
    """
    with _explained():
        cluster_id = _cluster_id(directory)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(DirectoryLock.acquire_shared(directory))
                end = recover(directory, cluster_id, Disk()).tip.index
            except LogInUse:
                # Blocks up to the watermark are whole; behind it, blocks appear while they are being looked for.
                end = read_durable_watermark(directory, cluster_id)
                click.echo(f"the log is in use: showing blocks up to {end}", err=True)
            segments = find_segments(directory, cluster_id, Disk()).used
            for block in read_blocks(segments, min(last or end, end), Disk()):
                if block.index < first:
                    continue
                for row in _transactions(block) if records else [_header(block)]:
                    click.echo(json.dumps(row) if as_json else _line(row))


@log.command()
@_directory
def verify(directory: Path) -> None:
    """Check every block of the log in DIRECTORY: chain, hashes, positions, and that what was durable is there."""
    with _explained():
        cluster_id = _cluster_id(directory)
        blocks = block_bytes = 0
        with DirectoryLock.acquire_shared(directory):
            found = recover(directory, cluster_id, Disk())
            for block in read_blocks(found.segments, found.tip.index, Disk()):
                blocks += 1
                block_bytes += block.stored_bytes
        start_index, start_position = (1, 0)
        if found.segments:
            start_index, start_position = found.segments[0].first_index, found.segments[0].first_position
        click.echo(f"cluster       {cluster_id:016x}")
        click.echo(f"segments      {len(found.segments)} in use, {len(found.unused)} prepared")
        click.echo(f"blocks        {blocks}, from {start_index} to {found.tip.index}, {block_bytes} bytes")
        click.echo(f"transactions  {found.tip.next_position - start_position}, next is {found.tip.next_position}")
        click.echo(f"last hash     {(found.tip.hash or b'').hex()}")
        click.echo(f"watermark     block {read_durable_watermark(directory, cluster_id)}")
        if found.torn_tail is not None:
            click.echo(f"note: {found.torn_tail}; no answer depended on it, and the next start cuts it off")
        click.echo("verified: chain, hashes and positions hold")


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what the log raises into a message and an exit code."""
    try:
        yield
    except LogCorrupted as error:
        click.echo(f"CORRUPTED: {error}", err=True)
        raise click.exceptions.Exit(1) from error
    except BrokenPipeError:
        raise
    except (LogError, OSError) as error:
        raise click.UsageError(str(error)) from error


def _cluster_id(directory: Path) -> int:
    metadata = read_metadata(directory)
    if metadata is None:
        raise click.UsageError(f"{directory} holds no log: give the directory of a node's log")
    return metadata.cluster_id


def _header(block: Block) -> dict[str, Any]:
    return {
        "index": block.index,
        "kind": BlockKind(block.kind).name,
        "epoch": block.epoch,
        "first_position": block.first_position,
        "count": block.count,
        "payload_bytes": block.payload_bytes,
        "time": _time(block.time_ns),
        "durable_index": block.durable_index,
        "hash": block.hash.hex(),
    }


def _transactions(block: Block) -> Iterator[dict[str, Any]]:
    rows: np.ndarray[Any, Any] = block.records.reshape(-1).view(RECORD)
    for number, row in enumerate(rows):
        flags = int(row["flags"])
        yield {
            "position": block.first_position + number,
            "operation": _OPERATIONS.get(int(row["operation"]), str(row["operation"])),
            "flags": [name for flag, name in _FLAGS.items() if flags & flag],
            "namespace": int(row["namespace"]),
            "client_id": f"{int(row['client_id']):016x}",
            "sequence": int(row["sequence"]),
            "key": f"{int(row['key_hi']):016x}{int(row['key_lo']):016x}",
            "operand": f"{int(row['operand_hi']):016x}{int(row['operand_lo']):016x}",
            "amount": int(row["amount"]),
            "payload_length": int(row["payload_length"]),
        }


def _line(row: dict[str, Any]) -> str:
    return "  ".join(f"{name} {'|'.join(value) if isinstance(value, list) else value}" for name, value in row.items())


def _time(time_ns: int) -> str:
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"
