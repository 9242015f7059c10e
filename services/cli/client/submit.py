"""``penstock put``, ``delete``, ``cas``, ``add``, ``append``, ``open``, ``transfer``: one transaction each."""

import json
import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

import click

from services.cli.client.call import NO, Number, bytes_of, call, hex_option, namespace_option, node_call

if TYPE_CHECKING:
    from penstock.client.operations import Operation
    from penstock.client.results import Result

_ADVICE: Final = {
    "KEY_NOT_FOUND": "the key has no value",
    "VERSION_MISMATCH": "the key has another version; `penstock get --json` tells it",
    "OVERFLOW": "the sum would not fit into 64 bits",
    "BELOW_FLOOR": "the sum would be below the floor",
    "INSUFFICIENT_FUNDS": "the debit account holds less, and may not be overdrawn",
    "ACCOUNT_NOT_FOUND": "open both accounts first, with `penstock open`",
    "SAME_ACCOUNT": "debit and credit are one account",
    "ACCOUNT_EXISTS": "it is open already",
    "SEQUENCE_EXPIRED": "the node no longer knows what was done under this sequence",
    "SEQUENCE_REUSED": "another transaction was done under this client id and sequence",
    "SESSIONS_EXHAUSTED": "the node can remember no further client now; try again later",
}
_NEGATIVE: Final = {"ignore_unknown_options": True}
"""-5 is a number, and no option."""


def _submission(command: Callable[..., "Operation"]) -> Callable[..., None]:
    """Make a command of what builds its operation: it submits it, and shows the result."""

    @click.option("--client-id", type=Number(), help="With --sequence: the ids of an attempt whose answer was lost.")
    @click.option("--sequence", type=Number(), help="See --client-id.")
    @namespace_option
    @node_call
    @wraps(command)
    def submit(
        *, target: str, timeout_s: float, as_json: bool, client_id: int | None, sequence: int | None, **arguments: Any
    ) -> None:
        if (client_id is None) != (sequence is None):
            raise click.UsageError("--client-id and --sequence go together: give those that the lost attempt named")
        operation = command(**arguments)
        result = call(
            target,
            timeout_s,
            lambda client: client.submit(operation, sequence=sequence),
            client_id=client_id,
            next_sequence=None if sequence is None else sequence + 1,
        )
        click.echo(json.dumps(_fields(result)) if as_json else _line(result))
        if not result.ok:
            raise click.exceptions.Exit(NO)

    return submit


@click.command()
@click.argument("key")
@click.argument("value")
@_submission
@hex_option
def put(key: str, value: str, as_hex: bool, namespace: int) -> "Operation":
    """Set the value of KEY.

    With VALUE "-" it is read from the standard input, byte for byte.
    """
    from penstock.client.operations import Put

    return Put(bytes_of(key, as_hex), _content(value, as_hex), namespace)


@click.command()
@click.argument("key")
@_submission
@hex_option
def delete(key: str, as_hex: bool, namespace: int) -> "Operation":
    """Remove the value of KEY."""
    from penstock.client.operations import Delete

    return Delete(bytes_of(key, as_hex), namespace)


@click.command()
@click.argument("key")
@click.argument("value")
@click.option("--version", type=Number(), required=True, help="The version expected; 0: the key must not exist.")
@_submission
@hex_option
def cas(key: str, value: str, version: int, as_hex: bool, namespace: int) -> "Operation":
    """Set the value of KEY where its version is the expected one."""
    from penstock.client.operations import Cas

    return Cas(bytes_of(key, as_hex), _content(value, as_hex), version, namespace)


@click.command(context_settings=_NEGATIVE)
@click.argument("key")
@click.argument("amount", type=Number())
@click.option("--floor", type=Number(), help="Reject it where the sum would be below this.")
@_submission
@hex_option
def add(key: str, amount: int, floor: int | None, as_hex: bool, namespace: int) -> "Operation":
    """Add AMOUNT to the counter of KEY.

    AMOUNT may be negative.
    """
    from penstock.client.operations import Add

    return Add(bytes_of(key, as_hex), amount, floor, namespace)


@click.command()
@click.argument("payload")
@_submission
@hex_option
def append(payload: str, as_hex: bool, namespace: int) -> "Operation":
    """Store PAYLOAD in the log.

    With "-" it is read from the standard input, byte for byte.
    """
    from penstock.client.operations import Append

    return Append(_content(payload, as_hex), namespace)


@click.command(name="open")
@click.argument("account", type=Number())
@click.option("--overdraft", is_flag=True, help="Its balance may go below 0.")
@_submission
def open_account(account: int, overdraft: bool, namespace: int) -> "Operation":
    """Open ACCOUNT, a number, with a balance of 0."""
    from penstock.client.operations import OpenAccount

    return OpenAccount(account, overdraft, namespace)


@click.command(context_settings=_NEGATIVE)
@click.argument("debit", type=Number())
@click.argument("credit", type=Number())
@click.argument("amount", type=Number())
@_submission
def transfer(debit: int, credit: int, amount: int, namespace: int) -> "Operation":
    """Move AMOUNT from the account DEBIT to the account CREDIT."""
    from penstock.client.operations import Transfer

    return Transfer(debit, credit, amount, namespace)


def _content(text: str, as_hex: bool) -> bytes:
    return sys.stdin.buffer.read() if text == "-" else bytes_of(text, as_hex)


def _fields(result: "Result") -> dict[str, Any]:
    return {
        "ok": result.ok,
        "code": result.code.name,
        "duplicate": result.duplicate,
        "log_index": result.log_index,
        "position": result.position,
    }


def _line(result: "Result") -> str:
    parts = [result.code.name]
    if result.code.name in _ADVICE:
        parts.append(f"({_ADVICE[result.code.name]})")
    if result.duplicate:
        parts.append("(done before: this is the answer it got then)")
    return f"{' '.join(parts)}  block {result.log_index}  position {result.position}"
