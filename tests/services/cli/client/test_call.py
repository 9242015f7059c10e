"""What the commands that call a node refuse before they call one, and how they end where there is none."""

import socket
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from services.cli.client.call import Number, bytes_of
from services.cli.client.get import get
from services.cli.client.status import status
from services.cli.client.submit import add, append, cas, delete, open_account, put, transfer
from services.cli.client.watch import watch
from services.cli.main import main
from services.cli.target_option import target_option

COMMANDS = [
    (status, []),
    (get, ["k"]),
    (put, ["k", "v"]),
    (delete, ["k"]),
    (cas, ["k", "v", "--version", "0"]),
    (add, ["k", "-1"]),
    (append, ["p"]),
    (open_account, ["1"]),
    (transfer, ["1", "2", "3"]),
    (watch, []),
]


def run(command: click.Command, *arguments: str, **environment: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, arguments, env=environment)
    return result.exit_code, result.output


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize(("command", "arguments"), COMMANDS)
def test_where_no_node_answers_a_command_says_so_in_a_line(
    command: click.Command, arguments: list[str], nobody: str
) -> None:
    code, output = run(command, *arguments, "--target", nobody, "--timeout", "0.2")
    assert code == 69
    assert output.startswith(f"Error: no node answers at {nobody}: start one with `penstock dev`, or name another")
    assert output.count("\n") == 1


@pytest.mark.parametrize(("command", "arguments"), COMMANDS)
def test_a_target_that_is_none_is_refused_before_anything_is_sent(command: click.Command, arguments: list[str]) -> None:
    code, output = run(command, *arguments, PENSTOCK_TARGET="http://somewhere")
    assert code == 2
    assert "write somewhere:50051" in output


@pytest.mark.parametrize(("command", "arguments"), COMMANDS)
def test_every_command_that_calls_a_node_takes_the_same_options(command: click.Command, arguments: list[str]) -> None:
    assert {"target", "timeout_s", "as_json"} <= {parameter.name for parameter in command.params}
    assert command.name is not None
    assert main.get_command(click.Context(main), command.name) is command


@pytest.mark.parametrize(
    ("command", "arguments", "told"),
    [
        (get, [""], "key must have 1 to 1024 bytes"),
        (get, ["--account", "x"], "'x' is no integer"),
        (get, ["k", "--namespace", "65536"], "namespace is 65536, but must be 0 to 65535"),
        (get, ["--hex", "0"], "'0' is no bytes in hexadecimal digits"),
        (put, ["", "v"], "key must have 1 to 1024 bytes"),
        (put, ["--hex", "6b", "v"], "'v' is no bytes in hexadecimal digits"),
        (transfer, ["1", "2", "0"], "amount is 0, but must be 1 to 2^63-1"),
        (transfer, ["1", "-2", "1"], "credit is -2, but must be 0 to 2^128-1"),
        (transfer, ["1", "2", "x"], "'x' is no integer"),
        (open_account, ["-1"], "No such option"),
        (add, ["k", "9223372036854775808"], "must be -2^63 to 2^63-1"),
        (cas, ["k", "v"], "Missing option '--version'"),
        (put, ["k", "v", "--sequence", "1"], "go together"),
        (status, ["--timeout", "0"], "Invalid value for '--timeout'"),
        (watch, ["--operation", "transfers"], "Invalid value for '--operation'"),
    ],
)
def test_what_no_node_would_take_is_refused_by_its_name(
    command: click.Command, arguments: list[str], told: str
) -> None:
    code, output = run(command, *arguments)
    assert code == 2
    assert told.lower() in " ".join(output.split()).lower()


def test_numbers_are_decimal_or_hexadecimal() -> None:
    assert Number().convert("0x10", None, None) == 16
    assert Number().convert("-7", None, None) == -7


def test_arguments_are_text_or_hexadecimal_digits() -> None:
    assert bytes_of("müß", as_hex=False) == "müß".encode()
    assert bytes_of("00 ff", as_hex=True) == b"\x00\xff"


def test_the_target_is_the_option_s_then_the_environment_s_then_this_machine() -> None:
    @click.command()
    @target_option
    def show(target: str) -> None:
        click.echo(target)

    assert run(show) == (0, "127.0.0.1:50051\n")
    assert run(show, PENSTOCK_TARGET="node-1") == (0, "node-1:50051\n")
    assert run(show, "--target", "unix:/x", PENSTOCK_TARGET="node-1") == (0, "unix:/x\n")
