"""``penstock get``: a value, a counter or an account, as a node has it."""

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from services.cli.client.bytes_text import json_of
from services.cli.client.call import NotFound, Number, bytes_of, call, hex_option, namespace_option, node_call

if TYPE_CHECKING:
    from penstock.client.keys import Entry, Key


@click.command()
@click.argument("key")
@node_call
@click.option("--counter", "kind", flag_value="counter", help="The counter of this key.")
@click.option("--account", "kind", flag_value="account", help="The account of this number.")
@namespace_option
@hex_option
def get(key: str, target: str, timeout_s: float, as_json: bool, kind: str | None, namespace: int, as_hex: bool) -> None:
    """Print the value of KEY, or a counter or an account.

    The exit code is 1 where there is none.
    """
    named = _key(key, kind, namespace, as_hex)
    entry = call(target, timeout_s, lambda client: client.read(named))
    if as_json:
        click.echo(json.dumps(_fields(entry, kind, as_hex)))
    elif entry.found and kind is None:
        _print_value(entry.value, as_hex)
    elif entry.found:
        click.echo(entry.amount)
    if not entry.found:
        raise NotFound(f"there is no {kind or 'value'} {key!r} in namespace {namespace}")


def _key(text: str, kind: str | None, namespace: int, as_hex: bool) -> "Key":
    from penstock.client.keys import AccountKey, CounterKey, ValueKey

    if kind == "account":
        return AccountKey(Number().convert(text, None, None), namespace)
    if kind == "counter":
        return CounterKey(bytes_of(text, as_hex), namespace)
    return ValueKey(bytes_of(text, as_hex), namespace)


def _fields(entry: "Entry", kind: str | None, as_hex: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {"found": entry.found, "version": entry.version, "log_index": entry.log_index}
    if kind is None:
        return fields | json_of("value", entry.value, as_hex)
    return fields | {"amount": entry.amount} | ({"overdraft": entry.overdraft} if kind == "account" else {})


def _print_value(value: bytes, as_hex: bool) -> None:
    """A value as it is, byte for byte, so that it may go into a file; a line's end is added for a terminal alone."""
    if as_hex:
        click.echo(value.hex())
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(value + (b"\n" if sys.stdout.isatty() else b""))
