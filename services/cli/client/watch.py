"""``penstock watch``: the log's blocks, or their transactions, as they are committed."""

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from services.cli.client.call import call, node_call

if TYPE_CHECKING:
    from penstock.client.async_client import AsyncClient
    from penstock.client.operations import Operation
    from penstock.client.watching.watched_block import WatchedBlock

_OPERATIONS = ("append", "put", "delete", "cas", "add", "transfer", "open_account")


@click.command()
@node_call
@click.option("--from", "first", type=click.IntRange(0), help="First block, 0: the oldest. New ones where not given.")
@click.option("--count", type=click.IntRange(1), help="Show so many blocks, and end; without end where not given.")
@click.option("--decode", is_flag=True, help="Every transaction, in place of a line for each block.")
@click.option("--namespace", "namespaces", type=int, multiple=True, help="Only of this one; may be given again.")
@click.option("--operation", "names", type=click.Choice(_OPERATIONS), multiple=True, help="Likewise.")
@click.option("--effective", is_flag=True, help="Only transactions that took effect.")
def watch(
    target: str,
    timeout_s: float,
    as_json: bool,
    first: int | None,
    count: int | None,
    decode: bool,
    namespaces: tuple[int, ...],
    names: tuple[str, ...],
    effective: bool,
) -> None:
    """Follow the log: blocks as they are committed.

    It goes on until Ctrl-C, or as long as --count says. Blocks without a transaction that passes the filters are left
    out.
    """

    async def follow(client: "AsyncClient") -> None:
        start = (await client.status()).applied_index + 1 if first is None else first
        blocks = client.watch(
            start, namespaces=namespaces, operations=[_operation(name) for name in names], effective_only=effective
        )
        shown = 0
        async for block in blocks:
            for line in _transactions(block, as_json) if decode else [_summary(block, as_json)]:
                click.echo(line)
            sys.stdout.flush()
            shown += 1
            if shown == count:
                await blocks.aclose()
                return

    try:
        call(target, timeout_s, follow)
    except KeyboardInterrupt:
        raise click.exceptions.Exit(130) from None


def _operation(name: str) -> "type[Operation]":
    from penstock.client import operations

    of_name: dict[str, type[Operation]] = {
        "append": operations.Append,
        "put": operations.Put,
        "delete": operations.Delete,
        "cas": operations.Cas,
        "add": operations.Add,
        "transfer": operations.Transfer,
        "open_account": operations.OpenAccount,
    }
    return of_name[name]


def _summary(block: "WatchedBlock", as_json: bool) -> str:
    from services.cli.client.transaction_text import time_text

    count, time, size = len(block.records), time_text(block.time_unix_nano), len(block.payloads)
    if as_json:
        return json.dumps({"log_index": block.log_index, "time": time, "transactions": count, "payload_bytes": size})
    return f"block {block.log_index}  {time}  {count:,} transaction{'s' * (count != 1)}, {size:,} payload bytes"


def _transactions(block: "WatchedBlock", as_json: bool) -> Iterator[str]:
    from services.cli.client.transaction_text import fields_of, line_of

    for i in range(len(block.records)):
        yield json.dumps(fields_of(block, i)) if as_json else line_of(block, i)
