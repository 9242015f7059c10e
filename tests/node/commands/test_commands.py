"""The commands that call a node do on a node what they say, and end with the right exit code."""

import json
import select
import signal
import subprocess
import sys
from itertools import count
from typing import Any

import pytest
from click.testing import CliRunner

from services.cli.main import main
from tests.eventually import eventually
from tests.node.serve_process import ServeProcess

_numbers = count(1)


class Shell:
    """Runs commands on one node, in a namespace of this test alone."""

    def __init__(self, node: ServeProcess) -> None:
        self.target = node.target
        self.namespace = str(next(_numbers))

    def run(self, command: str, *arguments: str, stdin: bytes = b"") -> tuple[int, str]:
        options = [
            "--target",
            self.target,
            *(() if command in ("status", "watch") else ("--namespace", self.namespace)),
        ]
        result = CliRunner().invoke(main, [command, *arguments, *options], input=stdin)
        return result.exit_code, result.output

    def json(self, command: str, *arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.run(command, *arguments, "--json")[1].splitlines()[0])
        return answer


@pytest.fixture
def shell(shared_node: ServeProcess) -> Shell:
    return Shell(shared_node)


def test_what_was_put_is_got_until_it_is_deleted(shell: Shell) -> None:
    code, line = shell.run("put", "k", "value")
    assert code == 0
    assert line.startswith("OK  block ")
    assert shell.run("get", "k") == (0, "value")
    entry = shell.json("get", "k")
    assert (entry["found"], entry["value"]) == (True, "value")
    assert shell.run("cas", "k", "other", "--version", str(entry["version"]))[0] == 0
    code, line = shell.run("cas", "k", "third", "--version", str(entry["version"]))
    assert (code, line.split()[0]) == (1, "VERSION_MISMATCH")
    assert shell.run("delete", "k")[0] == 0
    assert shell.run("get", "k") == (1, f"Error: there is no value 'k' in namespace {shell.namespace}\n")


def test_bytes_go_in_and_come_out_as_they_are(shell: Shell) -> None:
    assert shell.run("put", "k", "-", stdin=b"\x00\xff\n")[0] == 0
    assert shell.run("get", "--hex", "6b") == (0, "00ff0a\n")
    assert shell.run("put", "--hex", "00", "beef")[0] == 0
    assert shell.json("get", "--hex", "00")["value_hex"] == "beef"


def test_money_moves_between_accounts_that_are_open(shell: Shell) -> None:
    assert shell.run("transfer", "1", "2", "5")[1].startswith("ACCOUNT_NOT_FOUND (open both accounts first")
    assert shell.run("open", "1", "--overdraft")[0] == 0
    assert shell.run("open", "2")[0] == 0
    answer = shell.json("transfer", "1", "0x2", "5")
    assert (answer["ok"], answer["code"], answer["duplicate"]) == (True, "OK", False)
    assert shell.run("get", "--account", "1") == (0, "-5\n")
    assert shell.json("get", "--account", "2")["amount"] == 5
    assert shell.run("transfer", "2", "1", "6")[0] == 1


def test_counters_count_both_ways(shell: Shell) -> None:
    assert shell.run("add", "n", "-5")[0] == 0
    assert shell.run("add", "n", "7", "--floor", "-9")[0] == 0
    assert shell.run("get", "--counter", "n") == (0, "2\n")
    assert shell.run("add", "n", "-3", "--floor", "0")[1].startswith("BELOW_FLOOR")


def test_a_lost_answer_is_found_under_the_ids_of_its_attempt(shell: Shell) -> None:
    ids = ("--client-id", "0x70", "--sequence", "9")
    assert not shell.json("add", "n", "1", *ids)["duplicate"]
    assert shell.json("add", "n", "1", *ids)["duplicate"]
    code, line = shell.run("add", "n", "2", *ids)
    assert (code, line.split(" (")[0]) == (1, "SEQUENCE_REUSED")
    assert shell.run("get", "--counter", "n") == (0, "1\n")


def test_status_tells_how_the_node_is_doing(shell: Shell) -> None:
    shell.run("append", "x")
    code, output = shell.run("status", "--digest")
    assert code == 0
    assert "condition     serving" in output
    assert all(len(line) <= 80 for line in output.splitlines())
    fields = shell.json("status")
    assert fields["condition"] == "serving"
    assert fields["applied_index"] == fields["sealed_index"] > 0
    assert {phase["name"] for phase in fields["phases"]} == {"txqueue", "pooling", "replication"}


def test_a_watch_shows_blocks_or_what_is_in_them(shell: Shell) -> None:
    block = str(shell.json("put", "k", "v")["log_index"])
    code, line = shell.run("watch", "--from", block, "--count", "1")
    assert code == 0
    assert line.startswith(f"block {block}  ")
    assert line.endswith("1 transaction, 1 payload bytes\n")
    decoded = shell.run("watch", "--from", block, "--count", "1", "--decode")[1]
    assert f"PUT  namespace {shell.namespace}  key 'k'  value 'v'  OK" in decoded
    fields = shell.json("watch", "--from", block, "--count", "1", "--decode")
    assert (fields["operation"], fields["key"], fields["value"], fields["result"]) == ("PUT", "k", "v", "OK")


def test_a_watch_shows_what_is_new_until_it_is_told_to_end(shell: Shell) -> None:
    own = ("--namespace", shell.namespace, "--operation", "put", "--effective")
    program = [sys.executable, "-m", "services.cli.main", "watch", "--target", shell.target, "--decode", *own]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        lines = watching.stdout
        assert lines is not None
        numbers = count()

        def shows_it() -> bool:
            shell.run("put", "k", f"v{next(numbers)}")
            return bool(select.select([lines], [], [], 0)[0])

        eventually(shows_it, "a line of the watch")
        assert "key 'k'  value 'v" in lines.readline()
        watching.send_signal(signal.SIGINT)
        _, complaints = watching.communicate(timeout=20)
    assert (watching.returncode, complaints) == (130, "")
