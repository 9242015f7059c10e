"""Call of a command to a node: its options, and what becomes of its errors: one line, and an exit code.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | an answer that is no: the transaction was rejected, the key was not found, the node does not serve |
| 2 | arguments that no node would take; nothing was sent |
| 69 | no node answered in time, or it refused; nothing took effect |
| 75 | no answer came in time, and what was sent may have taken effect; the message says how to find out |
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from services.cli.target_option import target_option

if TYPE_CHECKING:
    from penstock.client.async_client import AsyncClient

T = TypeVar("T")
_F = TypeVar("_F", bound=Callable[..., Any])

NO: Final = 1
"""The exit code where the answer is no."""

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object per line, for programs.")
hex_option = click.option("--hex", "as_hex", is_flag=True, help="Keys and values are written in hexadecimal digits.")
namespace_option = click.option("--namespace", type=int, default=0, show_default=True, help="0 to 65535.")
_timeout_option = click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, min_open=True),
    default=5.0,
    show_default=True,
    help="Seconds to wait for an answer.",
)


class CallFailed(click.ClickException):
    """A call that came to nothing; shown in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class NotFound(CallFailed):
    """The node has nothing under this key."""

    exit_code = NO


class UnusableArgument(CallFailed):
    """No node would take an argument; nothing was sent."""

    exit_code = 2


class NotTaken(CallFailed):
    """No node answered in time, or it refused; nothing took effect."""

    exit_code = 69


class OutcomeOpen(CallFailed):
    """What was sent may have taken effect or not."""

    exit_code = 75


class Number(click.ParamType):  # type: ignore[type-arg] # generic for the type checker, and in newer versions alone
    """An integer, in decimal or hexadecimal (0x...) digits."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it; see `click.ParamType`."""
        try:
            return value if isinstance(value, int) else int(value, 0)
        except ValueError:
            self.fail(f"{value!r} is no integer: write it in decimal or hexadecimal (0x...) digits", param, ctx)


def node_call(command: _F) -> _F:
    """Give a command the options ``target``, ``timeout_s`` and ``as_json``, which all that call a node have."""
    for option in (json_option, _timeout_option, target_option):
        command = option(command)
    return command


def call(
    target: str,
    timeout_s: float,
    work: "Callable[[AsyncClient], Awaitable[T]]",
    *,
    client_id: int | None = None,
    next_sequence: int | None = None,
) -> T:
    """Do some work with a client, and return what it returns.

    Raises:
        CallFailed: the client raised an error.
    """
    from penstock.client import errors
    from penstock.client.async_client import AsyncClient
    from penstock.client.options import RetryOptions

    async def run() -> T:
        retry = RetryOptions(deadline_s=timeout_s)
        async with AsyncClient(target, client_id=client_id, next_sequence=next_sequence, retry=retry) as client:
            return await work(client)

    try:
        return asyncio.run(run())
    except errors.InvalidOperation as error:
        raise UnusableArgument(str(error)) from None
    except errors.OutcomeUnknown as error:
        raise OutcomeOpen(
            f"no answer within {timeout_s:g} s, so it may have taken effect or not: run the same command again with "
            f"--client-id {error.client_id} --sequence {error.first_sequence} to find out ({error.cause})"
        ) from None
    except errors.Unavailable as error:
        raise NotTaken(
            f"no node answers at {target}: start one with `penstock dev`, or name another with --target ({error})"
        ) from None
    except errors.PenstockError as error:
        raise NotTaken(f"the node at {target} refused: {error}") from None


def bytes_of(text: str, as_hex: bool) -> bytes:
    """The bytes that an argument names: its text's in UTF-8, or those of its hexadecimal digits.

    Raises:
        UnusableArgument: these are no hexadecimal digits.
    """
    if not as_hex:
        return text.encode("utf-8", "surrogateescape")
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise UnusableArgument(
            f"{text!r} is no bytes in hexadecimal digits: write two digits for each, or leave --hex out"
        ) from None
