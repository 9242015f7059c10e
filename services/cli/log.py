"""``penstock log``: a write-ahead log, printed, searched and checked. Changes nothing, and works beside a node.

Exit codes: 0 all is well, 1 the log is damaged, 2 wrong options; as in sysexits.h 65 what is there cannot be understood
by this version, 66 there is no log, 74 it cannot be read.
"""

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from replication.log.block import Block, BlockKind
from replication.log.errors import LogCorrupted, LogError, LogMissing
from replication.log.log_view import LogView
from services.cli.inspection.kept_results import KeptResults
from services.cli.inspection.progress import Progress
from services.cli.inspection.transactions import Fields, fields_of, line_of
from services.cli.inspection.wanted import Wanted

_directory = click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
_from = click.option("--from", "first", type=click.IntRange(1), default=1, show_default=True, help="First block.")
_to = click.option("--to", "last", type=click.IntRange(1), help="Last block; the log's last where not given.")
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")


@click.group()
def log() -> None:
    """Look into a write-ahead log, search it, and check it.

    DIRECTORY is a node's data directory, or the log in it. A log that a node has open is read up to the block known to
    be durable about a second ago.
    """


@log.command()
@_directory
@_from
@_to
@click.option("--headers", is_flag=True, help="One line per block, without its transactions.")
@_json
def dump(directory: Path, first: int, last: int | None, headers: bool, as_json: bool) -> None:
    """Print blocks of the log in DIRECTORY with their transactions: operations, keys, values and results."""
    with _explained():
        view = _look(directory)
        blocks = view.blocks(first, last)
        if headers:
            for block in blocks:
                click.echo(json.dumps(_header(block)) if as_json else _heading(block))
        else:
            _print(view, ((block, range(block.count)) for block in blocks), as_json)


@log.command()
@_directory
@click.option("--key", help="A key, as text or as 0x and hexadecimal digits.")
@click.option("--client", help="A client's id, decimal or as 0x and hexadecimal digits.")
@click.option("--account", help="An account that a transfer touches or that is opened.")
@click.option("--position", type=click.IntRange(0), help="A transaction's number.")
@click.option("--namespace", type=click.IntRange(0, 0xFFFF), help="Only in this namespace.")
@_from
@_to
@_json
def find(
    directory: Path,
    key: str | None,
    client: str | None,
    account: str | None,
    position: int | None,
    namespace: int | None,
    first: int,
    last: int | None,
    as_json: bool,
) -> None:
    """Print the transactions of the log in DIRECTORY that are all that is asked for.

    A position is found at once; for the others all blocks from --from to --to are read.
    """
    wanted = Wanted(_number(client, "--client", 64), _key(key), _number(account, "--account", 128), namespace, position)
    if wanted == Wanted():
        raise click.UsageError("nothing to look for: give --key, --client, --account, --position or --namespace")
    with _explained():
        view = _look(directory)
        if position is None:
            blocks: Iterable[Block] = view.blocks(first, last)
        else:
            holding = view.block_at(position)
            in_range = holding is not None and first <= holding.index <= (last or holding.index)
            blocks = [holding] if holding is not None and in_range else []
        found = ((block, numbers) for block in blocks if (numbers := wanted.numbers(block)))
        if not _print(view, found, as_json):
            click.echo("nothing found", err=True)


@log.command()
@_directory
@click.option("--progress/--no-progress", default=True, help="Say on the error stream how far it has come.")
def verify(directory: Path, progress: bool) -> None:
    """Check every block of the log in DIRECTORY: chain, hashes, positions, and that what was durable is there."""
    with _explained():
        view = _look(directory)
        blocks = block_bytes = 0
        next_position, last_hash = 0, b""
        told = Progress(view.last_index - view.first_index + 1)
        for block in view.blocks():
            blocks += 1
            block_bytes += block.stored_bytes
            next_position, last_hash = block.next_position, block.hash
            if progress:
                told.advance(blocks, block_bytes)
        if progress:
            told.end()
        first_index = view.last_index - blocks + 1 if blocks else view.first_index
        click.echo(f"cluster       {view.cluster_id:016x}")
        click.echo(f"segments      {len(view.segments)} in use, {view.prepared} prepared")
        click.echo(f"blocks        {blocks}, from {first_index} to {view.last_index}, {block_bytes} bytes")
        click.echo(f"transactions  {next_position - view.first_position}, next is {next_position}")
        click.echo(f"last hash     {last_hash.hex()}")
        click.echo(f"watermark     block {view.watermark}")
        if view.torn_tail is not None:
            click.echo(f"note: {view.torn_tail}; no answer depended on it, and the next start cuts it off")
        scope = "" if view.holder is None else f" up to block {view.last_index}; what a node writes now was not checked"
        click.echo(f"verified: chain, hashes and positions hold{scope}")


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
        click.echo(f"Error: {error}", err=True)
        code = os.EX_NOINPUT if isinstance(error, LogMissing) else os.EX_DATAERR
        raise click.exceptions.Exit(os.EX_IOERR if isinstance(error, OSError) else code) from error


def _look(directory: Path) -> LogView:
    """Look at the log in a directory, or in the data directory that it is."""
    if not (directory / "cluster").exists() and (directory / "log" / "cluster").exists():
        directory /= "log"
    view = LogView.of(directory)
    if view.holder is not None:
        click.echo(f"the log is in use by process {view.holder or 'unknown'}: up to block {view.last_index}", err=True)
    return view


def _print(view: LogView, found: Iterable[tuple[Block, Sequence[int]]], as_json: bool) -> int:
    """Print some transactions of some blocks; return how many."""
    count = 0
    with KeptResults(view.directory.parent / "results") as kept:
        for block, numbers in found:
            count += len(numbers)
            rows = fields_of(block, numbers, kept.of(block))
            if as_json:
                for fields in rows:
                    click.echo(json.dumps(fields))
            else:
                click.echo(_heading(block))
                _print_lines(rows)
    return count


def _print_lines(rows: Iterable[Fields]) -> None:
    """Print transactions below a line for each run of one client."""
    for (client_id, namespace), run in itertools.groupby(rows, lambda row: (row["client_id"], row["namespace"])):
        for number, fields in enumerate(run):
            if not number:
                where = f" in namespace {namespace}" if namespace else ""
                click.echo(f"    client {client_id} from sequence {fields['sequence']}{where}")
            click.echo(line_of(fields))


def _key(text: str | None) -> bytes | None:
    if text is None or not text.startswith("0x"):
        return None if text is None else text.encode()
    try:
        return bytes.fromhex(text[2:])
    except ValueError:
        raise click.BadParameter(f"{text!r} is not 0x and pairs of hexadecimal digits", param_hint="--key") from None


def _number(text: str | None, option: str, bits: int) -> int | None:
    if text is None:
        return None
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << bits:
        raise click.BadParameter(f"{text!r} is no number of {bits} bits, decimal or 0x and digits", param_hint=option)
    return number


def _heading(block: Block) -> str:
    kind = (
        "" if block.kind == BlockKind.TRANSACTIONS else f"  {BlockKind(block.kind).name.lower()} {block.ballot.epoch}"
    )
    return f"block {block.index}  {_time(block.time_ns)}  {block.count} from {block.first_position}{kind}"


def _header(block: Block) -> dict[str, Any]:
    return {
        "index": block.index,
        "kind": BlockKind(block.kind).name,
        "format": block.version,
        "epoch": block.ballot.epoch,
        "node": block.ballot.node,
        "generation": block.generation,
        "first_position": block.first_position,
        "count": block.count,
        "payload_bytes": block.payload_bytes,
        "time": _time(block.time_ns),
        "durable_index": block.durable_index,
        "hash": block.hash.hex(),
    }


def _time(time_ns: int) -> str:
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"
